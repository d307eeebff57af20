"""`can-start-build` policy `my-plugin`: no build starts on a worker that is busy with something else."""

import windlass


# What master.toml says: `can_start_build = "my-plugin:my-plugin"`.
@windlass.hook("can-start-build", name="my-plugin")
def allow(args, builder, slaves, request):
    """only on workers whose load is below 4"""
    # The answer names those of `slaves` that may take `request` now; with none it waits, and is asked
    # about again. After an error nobody may. A worker that has not reported its load yet counts as idle.
    return [slave.name for slave in slaves if (slave.load or 0) < 4]
