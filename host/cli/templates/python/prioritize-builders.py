"""`prioritize-builders` policy `my-plugin`: builders with the tag `urgent` come first."""

import windlass


# What master.toml says, under `[policies]`: `prioritize_builders = "my-plugin:my-plugin"`.
@windlass.hook("prioritize-builders", name="my-plugin")
def order(args, builders):
    """builders with the tag `urgent`, then the others in the usual order"""
    # `builders` have something to do, and come in the order of the default rule. The answer is the order
    # in which they are offered workers; those left out wait. An error leaves it to the default rule.
    builders.sort(key=lambda builder: "urgent" not in builder.tags)
    return [builder.name for builder in builders]
