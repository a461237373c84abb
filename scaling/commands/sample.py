"""scaling sample: what a trained model writes."""

import argparse

from scaling.commands import arguments
from scaling.errors import InputError

TOKENS = 200  # that are sampled


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
    verb.add_argument("--prompt", help="text to go on from (the beginning of a document)")
    verb.add_argument("--tokens", type=arguments.count, metavar="N", help=f"at most ({TOKENS})")
    verb.add_argument("--temperature", type=arguments.number, help="0 takes the likeliest each time (1)")
    verb.add_argument("--top", type=arguments.count, metavar="K", help="draw from the K likeliest alone")
    verb.add_argument("--seed", type=int, help="of the draws (0)")
    verb.add_argument(
        "--weights",
        type=arguments.out_file(".safetensors"),
        metavar="FILE",
        help="writes the model instead: weights and config as safetensors, the tokenizer beside them",
    )
    verb.add_argument("--json", action="store_true")


def _sample(args: argparse.Namespace) -> int:
    of_text = ("prompt", "tokens", "temperature", "top", "seed", "json")
    given = arguments.given(args, *of_text)
    if args.weights and given:
        raise InputError(f"--weights writes the model, and {given[0]} is about text; leave out {', '.join(given)}")
    temperature, seed = (1.0 if args.temperature is None else args.temperature), args.seed or 0
    if temperature < 0 or seed < 0:
        raise InputError(f"--temperature {temperature:g} --seed {seed}: wanted numbers from 0 on")
    if seed >= 2**32:
        raise InputError(f"--seed {seed}: wanted a number below 2^32")
    prompt = args.prompt or ""
    if prompt.encode(errors="replace").decode() != prompt:
        raise InputError("--prompt: it is not UTF-8")
    from scaling import study, trained

    found = trained.load(*study.place(args.model))
    size = f"run {found.id}, N={found.config.model.N:,}, after {found.steps:,} updates"
    if args.weights:
        for path in found.write(args.weights):
            arguments.say(f"written: {path}")
        arguments.say(size)
        return 0
    text, ended = found.sample(prompt, args.tokens or TOKENS, temperature=temperature, top=args.top or 0, seed=seed)
    if args.json:
        arguments.print_json({"run": found.id, "prompt": prompt, "text": text, "ended": ended})
        return 0
    arguments.say(size)
    print(prompt + text)
    if ended:
        arguments.say("the model ended its document here")
    return 0
