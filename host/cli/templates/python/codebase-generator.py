"""`codebase-generator` policy `my-plugin`: a codebase is called as its repository's folder."""

import windlass


# What master.toml says, under `[policies]`: `codebase_generator = "my-plugin:my-plugin"`.
@windlass.hook("codebase-generator", name="my-plugin")
def codebase(args, change):
    """the last part of the repository's address, without `.git`"""
    # The answer is the codebase of a change that has just come in. After an error it has none.
    folder = change.repository.rstrip("/").replace(":", "/").split("/")[-1]
    return folder.removesuffix(".git")
