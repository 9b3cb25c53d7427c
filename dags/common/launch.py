"""How steps become tasks: Spark by spark-submit, training in a process or in a GPU pod.

The form is a setting; the DAG files are the same on one machine and on a cluster. Read from the
environment of the Airflow processes (each is written out in infra/README.md):

    SIDEREAL_SPARK_APPLICATION    what spark-submit is given                     pipelines/submit.py
    SIDEREAL_SPARK_CONF           JSON object of Spark options                   {}
    SIDEREAL_TASK_PER             step | dag: steps of a DAG share a process     step
    SIDEREAL_LAUNCHER             local | kubernetes                             local
    SIDEREAL_TRAINING_PROCESSES   torchrun processes per machine or pod          1
    SIDEREAL_TRAINING_IMAGE       kubernetes: image, pinned by digest
    SIDEREAL_TRAINING_GPUS        kubernetes: GPUs of a training pod             1
    SIDEREAL_TRAINING_CPU         kubernetes: CPUs requested by a pod            4
    SIDEREAL_TRAINING_MEMORY      kubernetes: memory requested and allowed       16Gi
    SIDEREAL_NAMESPACE            kubernetes: where the pods run                 sidereal
    SIDEREAL_SERVICE_ACCOUNT      kubernetes: whose rights the pods have         sidereal-training
    SIDEREAL_POD_CONFIG           kubernetes: ConfigMap and Secret of that name  sidereal
    SIDEREAL_STATE_CLAIM          kubernetes: volume claim of the run records    sidereal-state
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from airflow.sdk import Asset, BaseOperator

from dags.common.assets import produced_by
from dags.common.command import CommandOperator
from dags.common.defaults import FIRST_DAY, preset_arguments
from feature_store.step import Step
from feature_store.steps import steps_before, steps_of

REPOSITORY = Path(__file__).resolve().parents[2]
SUBMIT = REPOSITORY / "pipelines" / "submit.py"
STATE = "/state"
"""Where a pod finds the run records; SIDEREAL_HOME of the pods' ConfigMap."""

_PINNED = re.compile(r".+@sha256:[0-9a-f]{64}")


def tasks_of(dag_id: str, *, fills: bool = False) -> None:
    """The steps of a DAG as its tasks: a task each, or one for several that follow each other.

    A task each shows where time goes, runs what it can side by side, and repeats after a failure
    only what failed. One process for several starts Spark, or imports torch and MLflow, once, which
    is most of the time of steps that find little to do.

    Args:
        dag_id: the DAG, as `feature_store.steps` names it.
        fills: whether a run may be asked for several days in order, of which the last is its own.
            With a task each, the last day's catalogue is there before the first day's events.
    Raises:
        ValueError: SIDEREAL_TASK_PER is neither step nor dag, SIDEREAL_LAUNCHER is neither local
            nor kubernetes, or the image is not pinned.
    """
    tasks: dict[str, BaseOperator] = {}
    for task_id, steps in _grouped(steps_of(dag_id)).items():
        make = _spark_application if steps[0].kind == "spark" else _training
        tasks |= dict.fromkeys((step.name for step in steps), make(task_id, steps, fills=fills))
    for name, task in tasks.items():
        for before in steps_before(name):
            if before in tasks and tasks[before] is not task:
                task.set_upstream(tasks[before])


def _grouped(steps: Sequence[Step]) -> dict[str, list[Step]]:
    """Steps by the task that they are part of; one that is alone in it gives the task its name.

    With several processes, what computes gradients and what must run once keep apart.
    """
    shared: dict[str, list[Step]] = {}
    for step in steps:
        shared.setdefault(step.shared_task if _steps_share() else step.name, []).append(step)
    groups: dict[str, list[Step]] = {}
    for task_id, together in shared.items():
        mixed = len({step.trains for step in together}) > 1
        if len(together) == 1 or (mixed and _torchrun(True)):
            groups |= {step.name: [step] for step in together}
        else:
            groups[task_id] = together
    return groups


def _steps_share() -> bool:
    per = os.environ.get("SIDEREAL_TASK_PER", "step")
    if per not in ("step", "dag"):
        raise ValueError(f"SIDEREAL_TASK_PER is {per!r}; expected 'step' or 'dag'")
    return per == "dag"


def _spark_application(task_id: str, steps: Sequence[Step], *, fills: bool) -> BaseOperator:
    """Spark steps, submitted to whatever master the connection names."""
    # The import pulls in two Kubernetes clients, a second that DAGs without Spark needn't pay.
    from airflow.providers.apache.spark.operators.spark_submit import SparkSubmitOperator

    return SparkSubmitOperator(
        task_id=task_id,
        name=f"sidereal-{task_id}",
        conn_id="spark_default",
        application=os.environ.get("SIDEREAL_SPARK_APPLICATION", str(SUBMIT)),
        application_args=_arguments(steps, fills=fills),
        conf=json.loads(os.environ.get("SIDEREAL_SPARK_CONF", "{}")),
        driver_memory=os.environ.get("SIDEREAL_SPARK_DRIVER_MEMORY", "2g"),
        outlets=_made_by(steps),
    )


def _training(task_id: str, steps: Sequence[Step], *, fills: bool) -> BaseOperator:
    trains = any(step.trains for step in steps)
    argv = [*_torchrun(trains), "sidereal", "step", *_arguments(steps, fills=fills)]
    gpus = int(os.environ.get("SIDEREAL_TRAINING_GPUS", "1")) * trains
    return _task(task_id, argv, outlets=_made_by(steps), gpus=gpus)


def _arguments(steps: Sequence[Step], *, fills: bool) -> list[str]:
    """Of `sidereal step`."""
    first = ["--from", FIRST_DAY] if fills else []
    return [*(step.name for step in steps), *preset_arguments(), *first]


def _made_by(steps: Sequence[Step]) -> list[Asset]:
    return [asset for step in steps for asset in produced_by(step)]


def command(task_id: str, argv: list[str]) -> BaseOperator:
    """A command of ours that is no step; it runs where training does.

    Raises:
        ValueError: SIDEREAL_LAUNCHER is neither local nor kubernetes, or the image is not pinned.
    """
    return _task(task_id, argv, outlets=[], gpus=0)


def _task(task_id: str, argv: list[str], *, outlets: list[Asset], gpus: int) -> BaseOperator:
    launcher = os.environ.get("SIDEREAL_LAUNCHER", "local")
    if launcher == "local":
        return CommandOperator(task_id=task_id, argv=argv, directory=REPOSITORY, outlets=outlets)
    if launcher == "kubernetes":
        return _pod(task_id, argv, outlets=outlets, gpus=gpus)
    raise ValueError(f"SIDEREAL_LAUNCHER is {launcher!r}; expected 'local' or 'kubernetes'")


def _torchrun(trains: bool) -> list[str]:
    processes = int(os.environ.get("SIDEREAL_TRAINING_PROCESSES", "1"))
    if not trains or processes == 1:
        return []
    return ["torchrun", "--standalone", f"--nproc-per-node={processes}", "--no-python"]


def _pod(name: str, argv: list[str], *, outlets: list[Asset], gpus: int) -> BaseOperator:
    from airflow.providers.cncf.kubernetes.operators.pod import KubernetesPodOperator
    from kubernetes.client import models

    config = os.environ.get("SIDEREAL_POD_CONFIG", "sidereal")
    memory = os.environ.get("SIDEREAL_TRAINING_MEMORY", "16Gi")
    limits = {"memory": memory} | ({"nvidia.com/gpu": str(gpus)} if gpus else {})
    requests = {"cpu": os.environ.get("SIDEREAL_TRAINING_CPU", "4"), "memory": memory}
    volumes, mounts = _volumes(models)
    return KubernetesPodOperator(
        task_id=name,
        name=f"sidereal-{name.replace('_', '-')}",
        namespace=os.environ.get("SIDEREAL_NAMESPACE", "sidereal"),
        service_account_name=os.environ.get("SIDEREAL_SERVICE_ACCOUNT", "sidereal-training"),
        image=_pinned_image(),
        cmds=argv[:1],
        arguments=argv[1:],
        env_from=[
            models.V1EnvFromSource(config_map_ref=models.V1ConfigMapEnvSource(name=config)),
            models.V1EnvFromSource(secret_ref=models.V1SecretEnvSource(name=config, optional=True)),
        ],
        container_resources=models.V1ResourceRequirements(requests=requests, limits=limits),
        tolerations=_gpu_tolerations(models) if gpus else [],
        volumes=volumes,
        volume_mounts=mounts,
        on_finish_action="delete_succeeded_pod",
        startup_timeout_seconds=600,
        do_xcom_push=False,
        outlets=outlets,
    )


def _volumes(models: Any) -> tuple[list[Any], list[Any]]:
    claim = os.environ.get("SIDEREAL_STATE_CLAIM", "sidereal-state")
    sources = {
        # NCCL and the data loader share memory; a pod's own /dev/shm holds 64 MB.
        "shm": {"empty_dir": models.V1EmptyDirVolumeSource(medium="Memory")},
        "state": {
            "persistent_volume_claim": models.V1PersistentVolumeClaimVolumeSource(claim_name=claim)
        },
    }
    mounts = {"shm": "/dev/shm", "state": STATE}
    return (
        [models.V1Volume(name=name, **source) for name, source in sources.items()],
        [models.V1VolumeMount(name=name, mount_path=path) for name, path in mounts.items()],
    )


def _gpu_tolerations(models: Any) -> list[Any]:
    return [
        models.V1Toleration(key="nvidia.com/gpu", operator="Exists", effect="NoSchedule"),
    ]


def _pinned_image() -> str:
    image = os.environ.get("SIDEREAL_TRAINING_IMAGE", "")
    if not _PINNED.fullmatch(image):
        raise ValueError(
            f"SIDEREAL_TRAINING_IMAGE is {image!r}; expected an image pinned by its digest "
            "(name@sha256:<64 hex digits>): a tag such as :latest can't say what trained a model"
        )
    return image
