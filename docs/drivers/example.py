"""A driver for a set that Redis keeps: docs/drivers/exec.md is the protocol."""
import json, select, socket, sys
config, link, x = json.loads(sys.stdin.readline()), None, 0
def say(**line): print(json.dumps(line), flush=True)
def connect(): return socket.create_connection(config["target"].rsplit(":", 1), timeout=1).makefile("rwb")
def ask(command):
    link.write(command.encode() + b"\r\n"), link.flush()
    return link.readline().decode().strip()
while not select.select([sys.stdin], [], [], 1 / (config["rate"] or 100))[0]:  # until "stop" comes, or discompose is gone
    x += 1
    say(f="add", x=x, r="invoke")
    try:
        link = link or connect()
    except OSError as err:  # nothing was sent
        say(r="fail", e=str(err))
        continue
    try:
        answer = ask(f"SADD items {x}") or "the connection broke"
    except OSError as err:
        answer = str(err)
    outcome = {":": "ok", "-": "fail"}.get(answer[:1], "unknown")  # unknown: it may be there, or may yet be
    say(r=outcome, e="" if outcome == "ok" else answer)
    link = link if outcome != "unknown" else None
if sys.stdin.readline() == "stop\n": say(done="stop")
if sys.stdin.readline() == "final\n":
    link = connect()
    for _ in range(int(ask("SMEMBERS items")[1:])):
        link.readline()  # the element's length
        say(f="read", x=int(link.readline()), r="ok")
    say(done="final")
