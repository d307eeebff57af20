"""`merge-requests` policy `my-plugin`: requests for the same branches are built together."""

import windlass


# What master.toml says: `merge_requests = "my-plugin:my-plugin"`.
@windlass.hook("merge-requests", name="my-plugin")
def mergeable(args, builder, first, others):
    """requests for the same branches, without patches"""
    # The answer are the ids of those of `others` that one build may serve together with `first`. After an
    # error nothing is merged.
    if any(stamp.has_patch for stamp in first.stamps):
        return []
    return [other.id for other in others if sources(other) == sources(first)]


def sources(request):
    """Whoever asks for an exact revision gets that one, built by itself or with its like."""
    return [
        (stamp.codebase, stamp.repository, stamp.branch, stamp.revision, stamp.has_patch)
        for stamp in request.stamps
    ]
