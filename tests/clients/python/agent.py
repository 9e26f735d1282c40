"""Reads commands, runs each on a thread of its own, writes the answers: ../PROTOCOL.md.

`agent.py confluent` runs them on librdkafka, `agent.py aiokafka` on aiokafka.
"""

import importlib
import json
import os
import sys
import threading
import traceback

MODULES = {"confluent": "librdkafka_client", "aiokafka": "aiokafka_client"}


def main():
    client = importlib.import_module(MODULES[sys.argv[1]])
    # Libraries that print must not break the line protocol.
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    writing = threading.Lock()

    def answer(command):
        try:
            operation = getattr(client, command["op"])
            reply = {"id": command["id"], "ok": True, "result": operation(command)}
        except BaseException as failure:  # whatever it is, the test must hear of it
            traceback.print_exc()
            reply = {"id": command["id"], "ok": False, "error": repr(failure)}
        with writing:
            answers.write(json.dumps(reply) + "\n")
            answers.flush()

    for line in sys.stdin:
        threading.Thread(target=answer, args=(json.loads(line),), daemon=True).start()
    # The test has gone: whatever still runs has nobody to report to.
    os._exit(0)


main()
