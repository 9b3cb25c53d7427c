"""The files in infra/: they parse, hold no secret, and name only what exists."""

import ast
import json
import re
import sys
from importlib.metadata import packages_distributions

import pytest
import yaml

from feature_store.settings import REPOSITORY, Settings
from sidereal.environment import OWNER
from sidereal.serve import serve
from training.service.guard import PATHS

INFRA = REPOSITORY / "infra"
ENV_FILES = [INFRA / "one-machine.env", INFRA / "cluster.env"]
MANIFESTS = sorted((INFRA / "kubernetes").glob("*.yaml"))
PACKAGES_OF = {
    "spark": ("feature_store", "pipelines"),
    "training": ("feature_store", "training"),
    "airflow": ("dags", "sidereal"),
}
SECRET = re.compile(r"(?i)(password|secret|fernet|access_key_id|_user\b)")


def variables(path):
    lines = path.read_text().splitlines()
    return dict(line.split("=", 1) for line in lines if line and not line.startswith("#"))


def documents(path):
    return [each for each in yaml.safe_load_all(path.read_text()) if each]


def known_variables():
    """What is read anywhere: the settings' fields, and SIDEREAL_* named in the DAGs' own code."""
    dags = "".join(path.read_text() for path in (REPOSITORY / "dags" / "common").glob("*.py"))
    settings = {f"SIDEREAL_{name.upper()}" for name in Settings.model_fields}
    return settings | set(re.findall(r'"(SIDEREAL_[A-Z_]+)"', dags)) | {OWNER}


@pytest.mark.parametrize(
    "path",
    [*ENV_FILES, *MANIFESTS, INFRA / "README.md", INFRA / "compose.yaml"],
    ids=lambda path: path.name,
)
def test_every_variable_that_is_named_is_read_by_something(path):
    named = set(re.findall(r"\bSIDEREAL_[A-Z_]+\b", path.read_text()))
    images = {"SIDEREAL_AIRFLOW_IMAGE", "SIDEREAL_SPARK_IMAGE"}  # compose's own
    assert named <= known_variables() | images


def test_the_readme_explains_every_variable():
    text = (INFRA / "README.md").read_text()
    assert {name for name in known_variables() - {OWNER} if f"`{name}`" not in text} == set()


@pytest.mark.parametrize("path", ENV_FILES, ids=lambda path: path.name)
def test_json_in_environment_files_is_json(path):
    for name in ("AIRFLOW_CONN_SPARK_DEFAULT", "SIDEREAL_SPARK_CONF"):
        if text := variables(path).get(name):
            assert json.loads(text.strip("'"))


def test_secrets_are_references():
    for name, value in variables(INFRA / "cluster.env").items():
        if SECRET.search(name):
            assert re.fullmatch(r"\$\{[A-Z_]+\}", value), name
        assert not re.search(r"://[^/@]*:[^$/@][^/@]*@", value), name
    for path in MANIFESTS:
        for document in documents(path):
            assert document["kind"] != "Secret"
            for name in document.get("data", {}):
                assert not SECRET.search(name), f"{path.name}: {name}"


def test_compose_names_only_services_volumes_and_files_that_exist():
    compose = yaml.safe_load((INFRA / "compose.yaml").read_text())
    services = compose["services"]
    for name, service in services.items():
        assert set(service.get("depends_on", {})) <= set(services), name
        for upstream, condition in service.get("depends_on", {}).items():
            if condition["condition"] == "service_healthy":
                assert "healthcheck" in services[upstream], f"{name} waits for {upstream}"
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            assert source in compose["volumes"] or (INFRA / source).is_file(), volume
        if "build" in service:
            assert (REPOSITORY / service["build"]["dockerfile"]).is_file()
        elif not service["image"].startswith("${"):
            assert re.search(r":[\w.-]+$", service["image"]), f"{name} has no tag"
        for port in service.get("ports", []):
            assert port.startswith("127.0.0.1:"), f"{name} listens beyond this machine"
        long_running = service.get("restart") != "no"
        assert not long_running or "healthcheck" in service, f"{name} has no health check"


def test_containers_find_each_other_at_the_addresses_of_cluster_env():
    services = yaml.safe_load((INFRA / "compose.yaml").read_text())["services"]
    text = (INFRA / "cluster.env").read_text()
    for host in re.findall(r"(?:https?|spark)://([a-z-]+)|@([a-z-]+):\d+", text):
        assert set(filter(None, host)) <= set(services)


def test_kubernetes_references_lead_somewhere():
    found = [document for path in MANIFESTS for document in documents(path)]
    named = {(d["kind"], d["metadata"]["name"]) for d in found if "name" in d.get("metadata", {})}
    text = "\n".join(path.read_text() for path in MANIFESTS)
    for kind, pattern in {
        "ServiceAccount": r"serviceAccountName: ([\w-]+)",
        "PersistentVolumeClaim": r"claimName: ([\w-]+)",
        "ConfigMap": r"configMapRef: \{name: ([\w-]+)",
        "Service": r"https?://(airflow|mlflow)\.sidereal\.svc",
    }.items():
        references = set(re.findall(pattern, text))
        assert references
        assert {(kind, name) for name in references} <= named
    # Images are pinned by a digest that whoever deploys fills in.
    assert set(re.findall(r"image: (\S+)", text)) == {
        "REGISTRY/sidereal-airflow@sha256:DIGEST",
        "REGISTRY/sidereal-training@sha256:DIGEST",
        "REGISTRY/sidereal-serving@sha256:DIGEST",
    }


def test_the_service_s_deployment_starts_the_command_with_its_probes():
    [deployment, service] = documents(INFRA / "kubernetes" / "serving.yaml")
    [container] = deployment["spec"]["template"]["spec"]["containers"]
    known = {name for option in serve.params for name in option.opts}
    assert {argument.partition("=")[0] for argument in container["args"]} <= known
    port = service["spec"]["ports"][0]["targetPort"]
    assert f"--port={port}" in container["args"]
    probes = {name: probe["httpGet"] for name, probe in container.items() if "Probe" in name}
    assert {probe["path"] for probe in probes.values()} <= set(PATHS)
    assert probes["readinessProbe"] == {"path": "/ready", "port": port}
    assert "SIDEREAL_SERVE_TOKEN" in {variable["name"] for variable in container["env"]}
    dockerfile = (INFRA / "images" / "training.Dockerfile").read_text()
    assert 'AS serving\nEXPOSE 8100\nENTRYPOINT ["sidereal", "serve"]' in dockerfile
    # What is built without a target is the training image.
    assert dockerfile.rindex("AS training") > dockerfile.rindex("AS serving")


def test_the_cluster_s_variables_make_the_dags_pods():
    (config,) = [d for path in MANIFESTS for d in documents(path) if d["kind"] == "ConfigMap"]
    data = config["data"]
    assert all(isinstance(value, str) for value in data.values())
    assert json.loads(data["AIRFLOW_CONN_SPARK_DEFAULT"])["extra"]["deploy-mode"] == "cluster"
    conf = json.loads(data["SIDEREAL_SPARK_CONF"])
    template = conf["spark.kubernetes.driver.podTemplateFile"].removeprefix("/opt/sidereal/")
    assert (REPOSITORY / template).is_file()


def test_hadoop_s_object_store_support_has_the_version_of_pyspark_s_hadoop():
    from pathlib import Path

    import pyspark

    jars = Path(pyspark.__file__).parent / "jars"
    (client,) = jars.glob("hadoop-client-api-*.jar")
    version = client.stem.removeprefix("hadoop-client-api-")
    for path in (INFRA / "cluster.env", INFRA / "kubernetes" / "config.yaml"):
        assert f"hadoop-aws:{version}" in path.read_text()


@pytest.mark.parametrize("image", PACKAGES_OF)
def test_an_image_installs_what_its_packages_import(image):
    lines = (INFRA / "images" / f"{image}.txt").read_text().splitlines()
    listed = {
        _canonical(re.split(r"[\[=]", line)[0]) for line in lines if line[:1] not in ("", "#")
    }
    imported = {name for package in PACKAGES_OF[image] for name in _imports(package)}
    providers = packages_distributions()
    missing = {
        name
        for name in imported
        if not {_canonical(each) for each in providers.get(name, [name])} & listed
    }
    # Carried by pyspark; `airflow` is spread over several distributions.
    assert missing <= {"py4j"}


@pytest.mark.parametrize("image", PACKAGES_OF)
def test_every_version_in_an_image_is_pinned(image):
    pinned = {
        _canonical(line.split("==")[0])
        for line in (REPOSITORY / "constraints.txt").read_text().splitlines()
        if "==" in line
    }
    for line in (INFRA / "images" / f"{image}.txt").read_text().splitlines():
        if line and not line.startswith("#"):
            assert "==" in line or _canonical(line.split("[")[0]) in pinned, line


def _canonical(name):
    return re.sub(r"[-_.]+", "-", name).lower()


def _imports(package):
    """Top-level modules that a package imports and that are neither ours nor Python's."""
    found = set()
    for path in (REPOSITORY / package).rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                found |= {alias.name.split(".")[0] for alias in node.names}
            elif isinstance(node, ast.ImportFrom) and node.module:
                found.add(node.module.split(".")[0])
    ours = {"feature_store", "pipelines", "training", "dags", "sidereal", "benchmarks"}
    return found - ours - set(sys.stdlib_module_names)
