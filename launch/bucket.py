"""Buckets in a job: gs://my-bucket is the folder /gs/my-bucket there, mounted with gcsfuse by the platform's own means.

With --direct the program writes to the output's bucket itself (scaling.buckets), and nothing of this holds for it.

What such a folder cannot do decides what is launched (docs/launch/buckets.md):

- A file that is open is seen by its own machine alone until it is closed, and creating one excludes nobody elsewhere.
  Claims therefore say nothing to other machines, so each part of a study writes to a folder of its own.
- A folder is renamed in one step only where the bucket has a hierarchical namespace. Checkpoints are committed so.
- What was looked up is remembered for a while. Hosts that train one run together must not (FRESH).
- Reading here and there is slow. Prepared tokens are copied to each machine's disk first (CACHE).
"""

ROOT = "/gs"  # where the job sees buckets
CACHE = "/cache"  # where it finds the copy of --data
FRESH = ("ttl-secs", "negative-ttl-secs")  # of gcsfuse's metadata-cache, 0 where several hosts write to one folder


def in_bucket(location: str) -> bool:
    return location.startswith(("gs://", "s3://"))


def name(location: str) -> str:
    """gs://my-bucket/kaplan -> my-bucket"""
    return location.split("/")[2]


def folder(location: str) -> str:
    """gs://my-bucket/kaplan -> /gs/my-bucket/kaplan"""
    return f"{ROOT}/{location.removeprefix('gs://').rstrip('/')}"


def part_folder(location: str, part: str, tasks: int) -> str:
    """The study folder of one part: its own, where there are several."""
    return folder(location) + (f"/{int(part):0{len(str(tasks))}}-of-{tasks}" if tasks > 1 else "")


def as_flags(hosts: int) -> list[str]:
    """Options of the command gcsfuse, for a task on so many hosts."""
    return ["--implicit-dirs", *(f"--metadata-cache-{key}=0" for key in FRESH if hosts > 1)]


def as_mount_options(hosts: int, user: int) -> str:
    """The same as the CSI driver wants them, for files that are this user's."""
    whose = [f"uid={user}", f"gid={user}"]
    return ",".join(["implicit-dirs", *whose, *(f"metadata-cache:{key}:0" for key in FRESH if hosts > 1)])
