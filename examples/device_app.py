"""A whole device app: python device_app.py MODEL PICTURE..."""

import sys

import edgecv

model, *pictures = sys.argv[1:]
with edgecv.Runtime(model) as runtime:
    print(runtime.info.backend, runtime.info.precision)
    for picture in pictures:
        answer = runtime.classify(picture, top_k=3)
        names = ", ".join(f"{p.label} {p.score:.0%}" for p in answer.predictions)
        print(f"{picture}: {names} in {answer.timings.total_ms:.1f} ms")
