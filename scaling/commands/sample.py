"""scaling sample: what a trained model writes."""

import argparse

from scaling.commands import arguments
from scaling.errors import InputError


def add(verbs: arguments.Verbs) -> None:
    verb = arguments.verb(
        verbs,
        "sample",
        _sample,
        "text of a trained model, or its weights as a file",
        "scaling sample studies/quickstart --prompt 'def ' --tokens 100",
    )
    verb.add_argument(
        "model",
        type=arguments.place,
        metavar="STUDY[/RUN]",
        help="folder of the study, and a run of it (the one of lowest loss)",
    )
    verb.add_argument("--prompt", default="", help="text to go on from (the beginning of a document)")
    verb.add_argument("--tokens", type=arguments.count, default=200, metavar="N", help="at most (200)")
    verb.add_argument("--temperature", type=arguments.number, default=1.0, help="0 takes the likeliest each time (1)")
    verb.add_argument("--top", type=arguments.count, default=0, metavar="K", help="draw from the K likeliest alone")
    verb.add_argument("--seed", type=int, default=0)
    verb.add_argument(
        "--weights",
        type=arguments.out_file(".safetensors"),
        metavar="FILE",
        help="writes the model instead: weights and config as safetensors, the tokenizer beside them",
    )
    verb.add_argument("--json", action="store_true")


def _sample(args: argparse.Namespace) -> int:
    if args.temperature < 0 or args.seed < 0:
        raise InputError(f"--temperature {args.temperature:g} --seed {args.seed}: wanted numbers from 0 on")
    if args.prompt.encode(errors="replace").decode() != args.prompt:
        raise InputError("--prompt: it is not UTF-8")
    if args.weights and args.prompt:
        raise InputError("--weights writes the model and --prompt its text; give one of them")
    from scaling import study, trained

    found = trained.load(*study.place(args.model))
    size = f"run {found.id}, N={found.config.model.N:,}, after {found.steps:,} updates"
    if args.weights:
        for path in found.write(args.weights):
            arguments.say(f"written: {path}")
        arguments.say(size)
        return 0
    text, ended = found.sample(args.prompt, args.tokens, temperature=args.temperature, top=args.top, seed=args.seed)
    if args.json:
        arguments.print_json({"run": found.id, "prompt": args.prompt, "text": text, "ended": ended})
        return 0
    arguments.say(size)
    print(args.prompt + text)
    if ended:
        arguments.say("the model ended its document here")
    return 0
