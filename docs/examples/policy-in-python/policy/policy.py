"""A policy that keeps large workers for builds that need them."""

import windlass

# What master.toml may say: `next_slave = { use = "policy:by-memory", args = { needs = 16 } }`.
ARGS = {
    "type": "object",
    "additionalProperties": False,
    "required": ["needs"],
    "properties": {"needs": {"type": "number", "minimum": 0, "description": "GiB of memory that a build needs"}},
}


@windlass.hook("next-slave", name="by-memory", schema=ARGS)
def by_memory(args, builder, slaves, request):
    """the smallest free worker with enough memory"""
    # What the configuration says of a worker: `properties = { memory = 4 }`.
    memory = {slave.name: windlass.plain(windlass.decision.slave_property(slave.name, "memory")) or 0 for slave in slaves}
    enough = [slave for slave in slaves if memory[slave.name] >= args["needs"]]
    if not enough:
        # The request waits until one that is large enough is free.
        return None
    return min(enough, key=lambda slave: (memory[slave.name], slave.running, slave.name)).name
