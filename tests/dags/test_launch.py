"""The launcher's forms, and what the environment says to the DAGs."""

import sys

import pytest

from feature_store.steps import steps_of

DAY = "1998-04-20"
IMAGE = "registry.example/sidereal-training@sha256:" + "0" * 64


@pytest.fixture
def environment(monkeypatch):
    """Sets SIDEREAL_* variables for one test."""

    def set_variables(**variables):
        for name, value in variables.items():
            monkeypatch.setenv(f"SIDEREAL_{name}", value)

    return set_variables


def tasks_of(dag_id, **options):
    """The tasks of a DAG's steps by name, rendered for a day."""
    from airflow.sdk import DAG

    from dags.common import launch

    with DAG("a_dag", schedule=None) as dag:
        launch.tasks_of(dag_id, **options)
    for task in dag.tasks:
        task.render_template_fields({"partition_key": DAY})
    return {task.task_id: task for task in dag.topological_sort()}


def training(name):
    """The task of a step of `recommender_daily`."""
    return tasks_of("recommender_daily")[name]


def pod_of(task):
    pod = task.build_pod_request_obj(dry_run=True)
    (container,) = pod.spec.containers
    return pod, container


def test_training_runs_in_a_process_of_its_own_by_default():
    task = training("train_recommender")
    expected = "sidereal step train_recommender --preset movielens-100k --day 1998-04-20"
    assert task.argv == expected.split()


def test_several_processes_go_through_torchrun_where_gradients_are_computed(environment):
    environment(TRAINING_PROCESSES="2")
    task = training("train_recommender")
    assert task.argv[:5] == [
        "torchrun",
        "--standalone",
        "--nproc-per-node=2",
        "--no-python",
        "sidereal",
    ]
    assert training("evaluate_recommender").argv[0] == "sidereal"


def test_preset_and_overrides_reach_the_command(environment):
    environment(PRESET="kuairand", OVERRIDES='["models.challenger=sasrec", "training.seed=7"]')
    assert training("recommend").argv[3:] == [
        "--preset", "kuairand", "--day", DAY,
        "--set", "models.challenger=sasrec", "--set", "training.seed=7",
    ]  # fmt: skip


@pytest.mark.parametrize("text", ["models.challenger=sasrec", '{"a": 1}', "[1]"])
def test_overrides_that_are_no_list_of_texts_are_refused(environment, text):
    environment(OVERRIDES=text)
    with pytest.raises(ValueError, match="expected a JSON list of"):
        training("recommend")


def test_spark_takes_its_application_and_options_from_the_environment(environment):
    environment(
        SPARK_APPLICATION="local:///opt/sidereal/pipelines/submit.py",
        SPARK_CONF='{"spark.kubernetes.container.image": "sidereal-spark@sha256:0"}',
        SPARK_DRIVER_MEMORY="8g",
    )
    task = tasks_of("interactions_daily")["build_items"]
    assert task.application == "local:///opt/sidereal/pipelines/submit.py"
    assert task.conf == {"spark.kubernetes.container.image": "sidereal-spark@sha256:0"}
    assert task.application_args[0] == "build_items"


def test_spark_steps_of_a_dag_share_an_application_where_that_is_asked_for(environment):
    environment(TASK_PER="dag")
    [(task_id, task)] = tasks_of("features_daily").items()
    assert task_id == "spark_jobs"
    names = [step.name for step in steps_of("features_daily")]
    assert task.application_args[: len(names) + 1] == [*names, "--preset"]
    assert {asset.name.removeprefix("movielens-100k/") for asset in task.outlets} == {
        *("user_sequences", "slates", "preference_pairs", "preference_lists", "item_embeddings"),
        *("collaborative_vectors", "item_cooccurrence", "feature_vocabularies", "impressions"),
    }


def test_only_a_dag_that_fills_days_in_is_told_the_first_of_them():
    assert "--from" not in tasks_of("interactions_daily")["build_items"].application_args
    filling = tasks_of("interactions_daily", fills=True)["build_items"]
    assert filling.application_args[-2:] == ["--from", DAY]


def test_training_steps_that_follow_each_other_share_a_process_where_that_is_asked_for(environment):
    apart = tasks_of("recommender_daily")
    assert set(apart) == {step.name for step in steps_of("recommender_daily")}
    environment(TASK_PER="dag")
    together = tasks_of("recommender_daily")
    assert {name: task.downstream_task_ids for name, task in together.items()} == {
        "challenger": {"evaluate_to_report"},
        "train_baselines": {"evaluate_to_report"},
        "evaluate_to_report": set(),
    }
    after = together["evaluate_to_report"]
    judged = ["evaluate_recommender", "promote_recommender"]
    served = ["recommend", "compare_answers", "sample_beams", "write_report"]
    assert after.argv[:9] == ["sidereal", "step", "blend_recommenders", *judged, *served]
    assert {asset.name for asset in after.outlets} == {
        "movielens-100k/recommendations",
        "movielens-100k/sampled_beams",
    }
    environment(TASK_PER="hour")
    with pytest.raises(ValueError, match="TASK_PER is 'hour'; expected 'step' or 'dag'"):
        tasks_of("recommender_daily")


def test_what_must_run_once_does_not_share_the_processes_of_what_trains(environment):
    environment(TASK_PER="dag")
    assert list(tasks_of("semantic_ids_weekly")) == ["semantic_ids"]
    environment(TRAINING_PROCESSES="2")
    train, build = tasks_of("semantic_ids_weekly").values()
    assert (train.argv[0], build.argv[0]) == ("torchrun", "sidereal")
    both = tasks_of("recommender_daily")["challenger"]
    assert both.argv[4:8] == ["sidereal", "step", "train_recommender", "align_recommender"]


def test_an_unknown_launcher_is_refused(environment):
    environment(LAUNCHER="docker")
    with pytest.raises(ValueError, match="SIDEREAL_LAUNCHER is 'docker'; expected 'local' or"):
        training("recommend")


def test_a_training_pod_asks_for_gpus_and_gets_its_settings_from_the_cluster(environment):
    environment(LAUNCHER="kubernetes", TRAINING_IMAGE=IMAGE, TRAINING_GPUS="2", NAMESPACE="ml")
    pod, container = pod_of(training("train_recommender"))
    assert pod.metadata.namespace == "ml"
    assert pod.metadata.name.startswith("sidereal-train-recommender-")
    assert container.image == IMAGE
    assert [*container.command, *container.args][:3] == ["sidereal", "step", "train_recommender"]
    assert container.args[-2:] == ["--day", DAY]
    assert container.resources.limits == {"memory": "16Gi", "nvidia.com/gpu": "2"}
    assert container.resources.requests == {"cpu": "4", "memory": "16Gi"}
    assert [s.config_map_ref.name for s in container.env_from if s.config_map_ref] == ["sidereal"]
    assert [s.secret_ref.name for s in container.env_from if s.secret_ref] == ["sidereal"]
    assert pod.spec.service_account_name == "sidereal-training"
    assert pod.spec.restart_policy == "Never"
    assert [t.key for t in pod.spec.tolerations] == ["nvidia.com/gpu"]
    assert {m.name: m.mount_path for m in container.volume_mounts} == {
        "shm": "/dev/shm",
        "state": "/state",
    }
    (state,) = [v for v in pod.spec.volumes if v.persistent_volume_claim]
    assert state.persistent_volume_claim.claim_name == "sidereal-state"


def test_a_pod_that_computes_no_gradients_takes_no_gpu(environment):
    environment(LAUNCHER="kubernetes", TRAINING_IMAGE=IMAGE)
    pod, container = pod_of(training("write_report"))
    assert "nvidia.com/gpu" not in container.resources.limits
    assert not pod.spec.tolerations


@pytest.mark.parametrize("image", ["", "sidereal-training:latest", "sidereal-training@sha256:abc"])
def test_an_image_that_is_not_pinned_by_its_digest_is_refused(environment, image):
    environment(LAUNCHER="kubernetes", TRAINING_IMAGE=image)
    with pytest.raises(ValueError, match="expected an image pinned by its digest"):
        training("recommend")


def test_days_come_from_the_clock_or_only_from_who_asks(environment):
    from airflow.sdk import CronPartitionTimetable, PartitionedAtRuntime

    from dags.common.defaults import daily_schedule

    assert isinstance(daily_schedule(), CronPartitionTimetable)
    environment(DAILY_CRON="none")
    assert isinstance(daily_schedule(), PartitionedAtRuntime)


def command(argv, tmp_path):
    from dags.common.command import CommandOperator

    return CommandOperator(task_id="a_task", argv=argv, directory=tmp_path)


def test_a_command_that_fails_raises_with_its_exit_code_and_last_lines(tmp_path):
    from airflow.sdk.exceptions import AirflowException

    code = "import sys; [print('line', i) for i in range(40)]; sys.exit('the reason')"
    with pytest.raises(AirflowException, match=r"a_task ended with exit code 1\n(.*\n)*the reason"):
        command([sys.executable, "-c", code], tmp_path).execute({})


def test_a_command_runs_where_it_is_told_and_with_variables_of_its_own(tmp_path):
    code = "import os, pathlib; pathlib.Path('made').write_text(os.environ['GIVEN'])"
    task = command([sys.executable, "-c", code], tmp_path)
    task.environment = {"GIVEN": "yes"}
    task.execute({})
    assert (tmp_path / "made").read_text() == "yes"


def test_killing_a_task_ends_what_its_command_started(tmp_path):
    import threading
    import time

    from airflow.sdk.exceptions import AirflowException

    child = "import time; open('alive', 'w'); time.sleep(60)"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    task = command([sys.executable, "-c", code], tmp_path)

    def kill_once_it_runs():
        while not (tmp_path / "alive").exists():
            time.sleep(0.02)
        task.on_kill()

    killer = threading.Thread(target=kill_once_it_runs)
    killer.start()
    started = time.monotonic()
    with pytest.raises(AirflowException, match="exit code -15"):
        task.execute({})
    killer.join()
    # Its output is a pipe that the grandchild holds, too: the read ends only when both are gone.
    assert time.monotonic() - started < 30


@pytest.mark.parametrize(
    ("variables", "name"),
    [
        ({}, "movielens-100k"),
        ({"PRESET": "shop"}, "shop"),
        ({"PRESET": "/etc/sidereal/shop.yaml"}, "shop"),
        ({"PRESET": "/etc/sidereal/preset.yaml", "PRESET_NAME": "shop"}, "shop"),
    ],
)
def test_assets_carry_the_name_of_the_preset(variables, name):
    import importlib

    from dags.common import assets

    with pytest.MonkeyPatch.context() as patch:
        for variable, value in variables.items():
            patch.setenv(f"SIDEREAL_{variable}", value)
        made = importlib.reload(assets).ASSETS["interactions"]
    importlib.reload(assets)
    assert (made.name, made.uri) == (f"{name}/interactions", f"sidereal://{name}/interactions")
