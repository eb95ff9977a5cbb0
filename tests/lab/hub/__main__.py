"""``python -m tests.lab.hub``: a Hub to try things on, until Ctrl-C."""

from __future__ import annotations

import argparse
import signal
import sys
import threading

from tests.lab.hub.server import HubServer


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.lab.hub", description=__doc__)
    parser.add_argument("--port", type=int, default=0, help="0: any free one")
    parser.add_argument("--token", default="hf_loopback", help="who sends it may read and write everything")
    parser.add_argument("--cdn", action="store_true", help="send large files from a second address, as the Hub does")
    arguments = parser.parse_args()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    with HubServer(port=arguments.port, tokens=(arguments.token,), cdn=arguments.cdn) as hub:
        print(hub.endpoint, flush=True)
        print(f"export HF_ENDPOINT={hub.endpoint} HF_TOKEN={arguments.token}", file=sys.stderr, flush=True)
        stop.wait()
        for complaint in hub.complaints:
            print(f"complaint: {complaint}", file=sys.stderr)


if __name__ == "__main__":
    main()
