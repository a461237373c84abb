"""scaling compile: what a run needs of a TPU slice, without the slice."""

import argparse
import re

from scaling.commands import arguments
from scaling.errors import InputError


def add(verbs: arguments.Verbs) -> None:
    compile = arguments.verb(
        verbs,
        "compile",
        _compile,
        "compile the training step for a TPU slice that is not here: does it fit, how fast could it be",
        "scaling compile configs/pod.py --set size=1.5b --topology v5e:8x8",
    )
    compile.add_argument("config", help="a Python file with a function study() -> Study, or a dotted name")
    arguments.settings(compile)
    compile.add_argument(
        "--topology",
        required=True,
        metavar="v5e:16x16",
        help="the slice; with --smallest the chip; with numbers where it is not listed: v9x:4x4x4,devices=2,peak=2e15",
    )
    compile.add_argument(
        "--mesh",
        metavar="data=2,fsdp=8",
        help="how the run is spread (data over slices, fsdp over the devices of each)",
    )
    compile.add_argument(
        "--slices", type=arguments.count, default=1, help="slices of that shape, over a slower network"
    )
    compile.add_argument("--smallest", action="store_true", help="the smallest slice of the chip that will do")
    compile.add_argument("--json", action="store_true")


def _compile(args: argparse.Namespace) -> int:
    arguments.fits_on_the_cpu()  # the compiler wants no device
    from scaling import chips, compile, mesh_axes, question, sharding

    study = question.load(args.config, arguments.pairs(args.set, "--set"), arguments.say)
    runs = {run.model: run for run in study.runs}
    found = []
    for run in runs.values():
        if args.smallest:
            name = re.split("[:-]", args.topology)[0]
            tpus = [chip.name for chip in chips.CHIPS.values() if chip.kind == "tpu"]
            if name not in tpus:
                raise InputError(f"--topology {name}: --smallest wants a chip, one of {', '.join(tpus)}")
            program = compile.smallest(run, chips.CHIPS[name], arguments.say)
            if program is None:
                arguments.say(f"N={run.model.N:,}: fits on no slice of {name} with these settings")
                continue
        else:
            slice = chips.accelerator(args.topology)
            sizes = sharding.parse(
                args.mesh or mesh_axes.show(mesh_axes.usual(slice.devices * args.slices, args.slices))
            )
            program = compile.program([run], slice, sizes, slices=args.slices)
        found.append(program)
        if not args.json:
            print(f"N={run.model.N:,}, batch {run.batch_tokens:,} tokens, {run.optim.optimizer}, remat {run.remat}")
            print(program.text(), flush=True)
    if args.json:
        arguments.print_json([program.to_dict() for program in found])
    else:
        print(f"Assumed: {compile.ASSUMPTIONS}.")
    return 0 if found and all(program.fits for program in found) else 3
