"""`next-build` policy `my-plugin`: what somebody waits for comes first."""

import windlass


# What master.toml says: `next_build = "my-plugin:my-plugin"`.
@windlass.hook("next-build", name="my-plugin")
def choose(args, builder, requests):
    """requests that a running build waits for, then the usual order"""
    # `requests` come in the order of the default rule: priority, then age. The answer is the id of one of
    # them, or None: none of them now. An error leaves the choice to the default rule.
    urgent = [request for request in requests if request.waited_for]
    return (urgent or requests)[0].id
