"""scaling study run with --mesh or --distributed: all devices, of all hosts, train one pack after the other."""

import argparse
import os
import time

from scaling.commands import arguments
from scaling.errors import InputError

WAIT = 300  # seconds for all processes to come
SILENCE = 30  # seconds after which a process counts as lost
HEARTBEAT = 100  # the same for JAX, which then ends the process at once


def options(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("--mesh", metavar="data=2,fsdp=4", help="all devices train one pack together, so spread")
    verb.add_argument(
        "--distributed", metavar="auto|HOST:PORT", help="with the same command on other hosts; where the first one is"
    )
    verb.add_argument("--process-id", type=int, metavar="I", help="of this process, from 0, with HOST:PORT")
    verb.add_argument("--processes", type=arguments.count, metavar="N", help="of all, with HOST:PORT")
    for name, default, text in (
        ("--wait", WAIT, "for all to come"),
        ("--silence", SILENCE, "after which a process that gives no sign of life is lost"),
        ("--heartbeat", HEARTBEAT, "after which JAX ends a process that misses another"),
    ):
        verb.add_argument(name, type=arguments.count, default=default, metavar="SECONDS", help=f"{text} ({default})")
    verb.add_argument("--save-steps", type=arguments.count, metavar="N", help="save every N updates too, with --mesh")
    verb.add_argument(
        "--tensorboard", type=arguments.place, metavar="DIR", help="curves for TensorBoard, a folder for each pack"
    )
    verb.add_argument("--profile", metavar="FROM:TO", help="profile these updates, with --mesh")
    verb.add_argument(
        "--peak", type=arguments.number, metavar="FLOP/S", help="of a device that is not listed, for MFU, with --mesh"
    )


def wanted(args: argparse.Namespace) -> bool:
    """Whether any of the options was given that belong together."""
    if args.distributed is None and (args.process_id is not None or args.processes is not None):
        raise InputError("--process-id and --processes belong to --distributed HOST:PORT; give it, or leave them out")
    together = bool(args.mesh or args.distributed)
    if (args.profile or args.save_steps or args.peak is not None) and not together:
        raise InputError("--save-steps, --profile and --peak are for runs with --mesh, such as --mesh fsdp=8")
    if args.peak is not None and not args.peak > 0:
        raise InputError(f"--peak {args.peak:g}: wanted a number above 0, such as 989e12")
    return together


def run(args: argparse.Namespace) -> int:
    """Plans the study in the first process and trains in all."""
    from scaling import checkpoints, distributed, mesh_axes, numerics, question, sharding, split, study, watch

    began = time.monotonic()
    if args.workers:
        raise InputError("--mesh and --distributed use all devices for one pack: leave out --workers")
    arguments.check_folder(args.out)
    part, parts = split.parse(args.shard) if args.shard else (1, 1)
    sizes = sharding.parse(args.mesh) if args.mesh else None
    profile = watch.span(args.profile) if args.profile else None
    config = question.apart(args.config, arguments.pairs(args.set, "--set"))
    environment = dict(os.environ)
    if overruled := numerics.overruled():
        arguments.say(f"{', '.join(overruled)}: not taken, since it would change what a run is")
    numerics.without_fast_math()
    options = {"--shard": args.shard, "--pack": args.pack, "--save-steps": args.save_steps}
    asked = {name: str(value) for name, value in options.items() if value}
    if sizes:
        asked["--mesh"] = mesh_axes.show(sizes)
    asked["study"] = f"{config.name} ({study.asked_of(config.runs)})"
    if args.distributed:
        distributed.check_times(args.silence, args.heartbeat)
        facts = {**distributed.executes(numerics.ambient(environment)), **asked}
        gang = (args.distributed, args.process_id, args.processes, args.wait, args.heartbeat)
        distributed.start(*gang, facts, arguments.say)
    import jax

    with distributed.Notice(arguments.say) as notice:
        try:
            slices = sharding.slices_of(jax.devices())
            sizes = sizes or mesh_axes.usual(jax.device_count(), slices)
            checkpoints.together("begun")  # where they first meet CPUs wait for 30 s only, and to plan may take longer
            settings = numerics.settings(environment)
            distributed.alike({**distributed.executes(settings), **asked, "--mesh": mesh_axes.show(sizes)})

            what = "hosts" if jax.default_backend() == "gpu" else "slices"
            if jax.process_index() == 0 and (told := mesh_axes.crossing(sizes, slices, what)):
                arguments.say(told)

            def plan() -> study.StudyFolder | None:
                if jax.process_index():
                    return None
                return study.prepare(
                    config,
                    args.out,
                    pack=args.pack,
                    workers=1,
                    shards_of=parts,
                    mesh=sizes,
                    devices=jax.local_device_count(),
                    say=arguments.say,
                )

            planned = distributed.all_or_none(plan, "the first process cannot plan the study; its own line says why")
            whole = distributed.all_or_none(
                lambda: planned or study.read(args.out),
                f"another process cannot read {args.out}; its own line says why",
            )
            signs = args.out / "together" / f"{part}-of-{parts}"
            peers = distributed.Peers(signs, jax.process_index(), jax.process_count(), arguments.say, args.silence)
            with peers:
                code = distributed.train_all(
                    whole,
                    {pack.id for pack in whole.part(part, parts)},
                    sizes,
                    notice,
                    arguments.say,
                    settings=settings,
                    save_steps=args.save_steps,
                    tensorboard=args.tensorboard,
                    profile=profile,
                    peak=args.peak,
                    since=began,
                )
                checkpoints.together("done")
        except (jax.errors.JaxRuntimeError, ConnectionError) as error:
            if jax.process_count() == 1:
                raise
            arguments.say(distributed.lost(error))
            distributed.end(distributed.LEFT)
    return code
