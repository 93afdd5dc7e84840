"""Which of the user's environment variables reach the training processes: all but those in one list here.

A shell that torchrun, `accelerate launch`, mpirun, Slurm, Kubeflow or SageMaker has prepared says which process of
which group each process is. A trial is no part of that group: it has its own workers, told in variables of its own.
Left in place, `WORLD_SIZE=2` lets a trial wait for ever for a process that never comes, and `ACCELERATE_*` trains
otherwise than the sweep file says.
"""

from __future__ import annotations

from collections.abc import MutableMapping

WITHHELD = (
    # torch.distributed and torchrun (https://docs.pytorch.org/docs/stable/elastic/run.html)
    "RANK",
    "WORLD_SIZE",
    "LOCAL_RANK",
    "LOCAL_WORLD_SIZE",
    "NODE_RANK",
    "GROUP_*",
    "ROLE_*",
    "MASTER_ADDR",
    "MASTER_PORT",
    "PET_*",
    "TORCHELASTIC_*",
    # Accelerate: `accelerate launch` tells its processes everything in these (accelerate.utils.launch)
    "ACCELERATE_*",
    "FSDP_*",
    "MEGATRON_LM_*",
    "PARALLELISM_CONFIG_*",
    "FORK_LAUNCHED",
    # MPI launchers, which Accelerate reads, too (accelerate.utils.environment)
    "MPI_LOCALRANKID",
    "MPI_LOCALNRANKS",
    "MV2_COMM_WORLD_*",
    "OMPI_COMM_WORLD_*",
    "PMI_RANK",
    "PMI_SIZE",
    # Slurm's number of this process among those of a step, by which Lightning and others join one
    "SLURM_LOCALID",
    "SLURM_NODEID",
    "SLURM_NTASKS",
    "SLURM_PROCID",
)
"""Names of variables, or beginnings of names with an asterisk."""


def withhold(environment: MutableMapping[str, str]) -> list[str]:
    """Removes from an environment what must not reach a trial.

    Args:
        environment: `os.environ`, before anything that trains is made or started.

    Returns:
        The names that were removed, in alphabetical order.
    """
    removed = sorted(name for name in environment if _is_withheld(name))
    for name in removed:
        del environment[name]
    return removed


def words(removed: list[str]) -> str:
    """For the user: what was removed, and how to give a trial several workers."""
    return (
        f"not passed on to trials: {', '.join(removed)} (of a launcher such as torchrun; "
        "a trial's own workers: resources.workers)"
    )


def _is_withheld(name: str) -> bool:
    return any(name.startswith(entry[:-1]) if entry.endswith("*") else name == entry for entry in WITHHELD)
