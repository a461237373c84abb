"""scaling launch: a study onto a cluster, a cloud or several processes, by the platform's own scheduler."""

import argparse
import re
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from scaling.commands import arguments
from scaling.errors import InputError

if TYPE_CHECKING:
    from launch.cost import Cost
    from launch.request import Request


def add(verbs: arguments.Verbs) -> None:
    verb = arguments.verb(
        verbs,
        "launch",
        _launch,
        "a study onto a TPU pod, a GPU cluster or a cloud; --dry-run shows files, command and cost",
        "scaling launch configs.quickstart --on slurm --accelerator h100:1 --tasks 8 --out /shared/mine --dry-run",
    )
    verb.add_argument("config", help="as in scaling study run")
    verb.add_argument("--on", required=True, metavar="PLATFORM", help="slurm, gke, local, mig, tpu-vm or skypilot")
    verb.add_argument(
        "--accelerator", required=True, metavar="CHIPS", help="of each task: v5e:4x4, v5p-128, h100:8, cpu"
    )
    verb.add_argument(
        "--out",
        required=True,
        help="folder of the study, one that all hosts reach; or gs://bucket/folder, with --direct s3:// too",
    )
    verb.add_argument(
        "--tasks", type=arguments.count, default=1, help="parts of the study, each on chips of its own (1)"
    )
    verb.add_argument("--slices", type=arguments.count, default=1, help="TPU slices that one task spans (1)")
    verb.add_argument("--mesh", default="", metavar="AXES", help="as in data=4,fsdp=8; over all chips of a task")
    verb.add_argument(
        "--data",
        default="",
        metavar="PLACE",
        help="cache folder with prepared tokens; each machine copies gs://bucket/it",
    )
    verb.add_argument(
        "--direct", action="store_true", help="the program writes to the bucket of --out itself, nothing is mounted"
    )
    verb.add_argument("--image", default="", help="container image with this program, see Dockerfile")
    verb.add_argument("--spot", action="store_true", help="cheaper chips that may be taken away at any time")
    verb.add_argument("--time", default="", metavar="LIMIT", help="as in 90m, 12h, 2d")
    verb.add_argument("--name", help="of the job (the config's)")
    verb.add_argument("--gpus-per-host", type=arguments.count, help="where a server does not have 8")
    verb.add_argument(
        "--with",
        dest="options",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="the platform's own options, such as partition=gpu, queue=team, zone=us-central2-b",
    )
    arguments.settings(verb)
    verb.add_argument(
        "--env",
        nargs="+",
        action="extend",
        default=[],
        metavar="KEY=VALUE",
        help="variables that the program sees, such as XLA_FLAGS=... or LIBTPU_INIT_ARGS=...; no secrets",
    )
    verb.add_argument("--tensorboard", action="store_true", help="curves in OUT/tensorboard")
    verb.add_argument("--profile", default="", metavar="FROM:TO", help="profile these updates, into the same folder")
    verb.add_argument("--save-steps", type=arguments.count, default=0, metavar="N", help="as in scaling study run")
    verb.add_argument("--dry-run", action="store_true", help="shows files, command and cost; asks and starts nothing")
    verb.add_argument("--files", type=Path, metavar="DIR", help="where the files go (launches/NAME)")
    verb.add_argument("--mfu", type=arguments.number, help="share of the peak to assume for the hours (0.4)")
    verb.add_argument("--measured", type=Path, metavar="STUDY", help="a finished study on such a task, for the hours")
    verb.add_argument("--prices", type=Path, metavar="FILE", help="TOML with prices per chip and hour")


def _launch(args: argparse.Namespace) -> int:
    from launch import compiled, cost, submit, targets
    from scaling import question

    if args.on not in targets.TARGETS:
        raise InputError(f"--on {args.on}: wanted one of {', '.join(targets.TARGETS)}")
    request = _request(args)
    target = targets.TARGETS[args.on]
    wanted = question.load(args.config, dict(request.settings), arguments.say)
    targets.check(request, wanted, args.on)
    if args.measured and args.mfu is not None:
        raise InputError("--mfu and --measured: the hours come from one of them; leave the other out")
    if args.measured:
        speed = cost.measured(args.measured, request)
    else:
        speed = cost.assumed(request, cost.ASSUMED if args.mfu is None else args.mfu)
    prices = cost.read_prices(args.prices) if args.prices else None
    expected = cost.estimate(request, wanted, speed, prices)
    if not args.dry_run:
        submit.check_client(target.CLIENT)
        if args.on in targets.ELSEWHERE:  # elsewhere gcloud may know nobody: the program has its own credentials
            submit.check_buckets(request, hierarchical=args.on != "skypilot")
    inside = bool(request.image) and (request.tensorboard or request.profile)
    packages = ["--tensorboard: the image has to have the package tensorboardX"] if inside else []
    notes = [
        *packages,
        *filter(None, [targets.spread(request, wanted, args.on), targets.crossing(request)]),
        compiled.check(request),
        *target.notes(request),
    ]
    files = target.files(request)
    folder = (args.files or Path("launches") / request.name).absolute()
    commands = target.commands(request, folder)
    if not args.dry_run or args.files:
        submit.write(files, folder)
    if args.dry_run:
        _show(files, folder, commands)
    _tell(request, expected, notes, to=print if args.dry_run else arguments.say)
    if args.dry_run:
        return 0
    if args.on == "local":
        submit.become(commands[-1], arguments.say)
    submit.run(commands, arguments.say)
    arguments.say(f"submitted; progress: {target.watch(request)}")
    return 0


def _request(args: argparse.Namespace) -> "Request":
    from launch.bucket import in_bucket
    from launch.request import Request, parse_mesh, parse_time
    from scaling import chips

    def place(text: str) -> str:
        return (
            text if not text or in_bucket(text) or re.match(r"\w+:", text) else str(Path(text).expanduser().absolute())
        )

    stem = Path(args.config).stem if args.config.endswith(".py") else args.config.rpartition(".")[2]
    return Request(
        config=args.config,
        accelerator=chips.accelerator(args.accelerator, args.gpus_per_host),
        out=place(args.out),
        tasks=args.tasks,
        slices=args.slices,
        settings=tuple(arguments.pairs(args.set, "--set").items()),
        mesh=parse_mesh(args.mesh),
        data=place(args.data),
        image=args.image,
        spot=args.spot,
        seconds=parse_time(args.time) if args.time else 0,
        name=args.name or re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-0123456789")[:40].rstrip("-") or "study",
        options=tuple(arguments.pairs(args.options, "--with").items()),
        env=tuple(arguments.pairs(args.env, "--env").items()),
        tensorboard=args.tensorboard,
        profile=args.profile,
        save_steps=args.save_steps,
        direct=args.direct,
    )


def _show(files: dict[str, str], folder: Path, commands: list[list[str]]) -> None:
    """The first file in full: those of the other parts differ from it in their number alone."""
    from launch import relaunch
    from launch.request import quoted

    parts = [name for name in files if name != relaunch.SCRIPT]
    print(f"# ---- {folder / parts[0]}\n{files[parts[0]]}")
    if len(parts) > 1:
        print(f"# ---- and {len(parts) - 1} more like it, to {parts[-1]}\n")
    if relaunch.SCRIPT in files:
        print(f"# ---- {folder / relaunch.SCRIPT}\n{files[relaunch.SCRIPT]}")
    for words in commands[:3]:
        print(f"$ {quoted(words)}")
    if len(commands) > 3:
        print(f"... and {len(commands) - 3} more like it")
    print()


def _tell(request: "Request", expected: "Cost", notes: Sequence[str], to: Callable[[str], None]) -> None:
    tasks = f"{request.tasks} tasks, each with " if request.tasks > 1 else ""
    size = f"{request.hosts} {'host' if request.hosts == 1 else 'hosts'}"
    if request.accelerator.chip.kind != "cpu":
        each = f" of {request.accelerator.chip.devices} devices" if request.devices != request.chips else ""
        size = f"{request.chips} {'chip' if request.chips == 1 else 'chips'}{each}, {size}"
    if request.sizes:
        size += ", mesh " + ",".join(f"{axis}={n}" for axis, n in request.sizes.items())
    to(f"{request.name}: {tasks}{request.hardware} ({size})")
    for line in (*expected.lines(), *notes):
        to(line)
