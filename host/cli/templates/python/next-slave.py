"""`next-slave` policy `my-plugin`: the free worker with the fewest builds."""

import windlass


# What master.toml says: `next_slave = "my-plugin:my-plugin"`.
@windlass.hook("next-slave", name="my-plugin")
def choose(args, builder, slaves, request):
    """the free worker with the fewest builds, by name among equals"""
    # `slaves` are the workers that could take `request`, in the order of the default rule. The answer is
    # the name of one of them, or None: the request waits. An error leaves the choice to the default rule.
    return min(slaves, key=lambda slave: (slave.running, slave.name)).name
