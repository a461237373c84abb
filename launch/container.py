"""The image on a plain virtual machine: shell that unpacks the config and runs one task in Docker."""

from collections.abc import Mapping

from launch import bucket
from launch.request import Request, Shell, quoted, study_words

INSIDE = "/study"  # where the container finds the config
OWNER = Shell('"$(id --user):$(id --group)"')  # of the mounted bucket and of $folder


def unpack(request: Request) -> list[str]:
    """Lines that write the config file, as it was when it was checked, into $folder."""
    if request.config_file is None:
        return []
    lines = request.config_text.removesuffix("\n").split("\n")
    end = "END_OF_CONFIG"
    while end in lines:
        end += "_"
    return [f"cat > \"$folder/config.py\" <<'{end}'", *lines, end]


def run(
    request: Request, part: int, cache: Shell, *, sudo: bool = False, processes: Mapping[str, str] | None = None
) -> str:
    """One line of shell that runs the task in the foreground and ends with its exit code.

    $folder has the config, `cache` the copy of the data; the output's bucket is mounted, but with --direct.

    The container shares the host's network, where JAX finds the other hosts and the machine's own credentials, and has
    30 s to save in when the machine is told to stop. It is the machine's user, who may do nothing else; with TPUs it is
    root with all privileges, for there is no other documented way to their devices on a virtual machine.
    """
    kind = request.accelerator.chip.kind
    gpus = ["--gpus", "all"] if kind == "gpu" else []
    rights = ["--user", "0", "--privileged"]
    if kind != "tpu":
        rights = ["--user", OWNER, "--env", "HOME=/tmp", "--cap-drop", "ALL", "--security-opt", "no-new-privileges"]
    docker = [
        *(["sudo"] if sudo else []),
        *("docker", "run", "--rm", "--init", "--name", "scaling", *rights, "--network=host", "--ipc=host"),
        *("--stop-timeout", "30", *gpus, "--volume", Shell(f'"$folder":{INSIDE}')),
    ]
    if not request.direct:
        mount = f"{bucket.ROOT}/{bucket.name(request.out)}"
        docker += ["--volume", f"{mount}:{mount}"]
    if request.data:
        docker += ["--volume", Shell(f"{cache}:{bucket.CACHE}"), "--env", f"SCALING_CACHE={bucket.CACHE}"]
    for key, value in request.env:
        docker += ["--env", f"{key}={value}"]
    config = f"{INSIDE}/config.py" if request.config_file else request.config
    return quoted([*docker, request.image, *study_words(request, "scaling", config, str(part), processes)])


def registry_login(request: Request, *, sudo: bool = False) -> list[str]:
    """Lets Docker use the machine's account where the image lies in Google's Artifact Registry."""
    host = request.image.partition("/")[0]
    if not host.endswith(".pkg.dev"):
        return []
    return [quoted([*(["sudo"] if sudo else []), "gcloud", "auth", "configure-docker", host, "--quiet"])]
