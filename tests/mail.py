#!/usr/bin/env python3
"""`evenkeel alert` and real SMTP servers (aiosmtpd), with STARTTLS, TLS from the first byte, passwords, and a CA of their own.

1. The server is away, then it puts off (451): nothing is lost, nothing comes twice. Each alert is one thread: its first message
   has no reply, those after it (again, over) refer to it. A name with a line break and an umlaut gets into no header.
2. Whoever is on call when a page comes gets the mail, over a hand-over that no policy announces; the second tier 20 s later, if
   nobody took it on; once somebody did, it is not told again. The process is killed (SIGKILL): nothing comes twice.
3. An address that a server refuses (550) is said (`--why`), and does not keep others from being told. A server whose certificate
   is for another name gets nothing.
4. A receiver that is taken out is told so while the incidents go on; one that is taken out while nobody is there to tell it is
   said to be (`removed`).
5. Certificates that cannot be read matter to those alone that are reached with TLS.
Exit 0: all held, 1: not.
"""
import json
import logging
import shutil
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
import warnings
from collections import Counter, defaultdict
from email import message_from_bytes, policy
from pathlib import Path

import virtual
from alerts import EVENKEEL, fail, is_served, once, wait

PACKAGES = ["aiosmtpd==1.4.6"]
API, STARTTLS, TLS, PLAIN = 29614, 29611, 29612, 29613
USER, PASSWORD, GONE = "evenkeel", "a password", "gone@example.com"
ODD = "zahlung-größe\r\nBcc: eve@example.com\r\n\r\nroot: none"


class Mailbox:
    """What servers took: the envelope's recipients and the message; they put off `later` messages first."""
    got, later, users = [], 2, set()

    async def handle_RCPT(self, _server, _session, envelope, address, _options):
        if address == GONE:
            return "550 5.1.1 there is nobody of that name"
        envelope.rcpt_tos.append(address)
        return "250 OK"

    async def handle_DATA(self, _server, session, envelope):
        if session.auth_data and Mailbox.later:
            Mailbox.later -= 1
            return "451 4.7.1 come back later"
        Mailbox.got.append((envelope.rcpt_tos, message_from_bytes(envelope.content, policy=policy.default)))
        return "250 OK"


def mails(receiver, service=""):
    ours = [it for it in Mailbox.got if it[1]["Message-ID"].endswith(f".{receiver}@example.com>")]
    return [(to, mail) for to, mail in ours if service in mail["Subject"]]


def kinds(receiver, service=""):
    """The first word of each message."""
    return [text(mail).split(":")[0] for _, mail in mails(receiver, service)]


def text(mail):
    return mail.get_body(("plain",)).get_content()


def check_threads(receiver):
    threads = defaultdict(list)
    for _, mail in mails(receiver):
        threads[mail["References"] or mail["Message-ID"]].append(mail)
        [plain, html] = mail.iter_parts()
        assert (plain.get_content_type(), html.get_content_type()) == ("text/plain", "text/html")
        assert "<h2>" in html.get_content() and mail["Date"] and mail["From"] == "evenkeel <evenkeel@example.com>"
    for root, [first, *later] in threads.items():
        assert first["Message-ID"] == root and first["In-Reply-To"] is None, root
        assert all(mail["In-Reply-To"] == root and mail["Subject"] == f"Re: {first['Subject']}" for mail in later), root
        assert f"[{root[1:].split('.')[0]}]" in first["Subject"], first["Subject"]
    ids = Counter(mail["Message-ID"] for _, mail in mails(receiver))
    assert set(ids.values()) == {1}, f"once each: {ids}"
    return len(threads)


def certificates(folder):
    """A CA, and the certificate of localhost that it gives out."""
    (folder / "san").write_text("subjectAltName=DNS:localhost\n")
    for command in ("req -x509 -newkey rsa:2048 -nodes -keyout ca.key -out ca.pem -days 2 -subj /CN=ca",
                    "req -newkey rsa:2048 -nodes -keyout mail.key -out mail.csr -subj /CN=localhost",
                    "x509 -req -in mail.csr -CA ca.pem -CAkey ca.key -CAcreateserial -out mail.pem -days 2 -extfile san"):
        subprocess.run(["openssl", *command.split()], cwd=folder, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "mail.pem", folder / "mail.key")
    return context


def servers(context):
    from aiosmtpd.controller import Controller
    from aiosmtpd.smtp import AuthResult

    def authenticator(_server, _session, _envelope, _mechanism, data):
        Mailbox.users.add(data.login)
        return AuthResult(success=(data.login, data.password) == (USER.encode(), PASSWORD.encode()))

    admitted = {"authenticator": authenticator, "auth_required": True, "hostname": "127.0.0.1"}
    return [Controller(Mailbox(), port=STARTTLS, tls_context=context, require_starttls=True, **admitted),
            Controller(Mailbox(), port=TLS, ssl_context=context, auth_require_tls=False, **admitted),
            Controller(Mailbox(), port=PLAIN, hostname="127.0.0.1")]


class Policies:
    def __init__(self, folder, log, hand_over_s):
        self.folder, self.log = folder / "policies", log
        self.folder.mkdir()
        (folder / "password").write_text(PASSWORD + "\n")
        user = {"user": USER, "secret_file": f"{folder}/password"}
        starttls, plain = f"smtp+starttls://localhost:{STARTTLS}", f"smtp://127.0.0.1:{PLAIN}"
        self.receiver("mail", starttls, "ops@example.com", on_call="shop", resend="5s", pages_an_hour=1000, **user)
        self.receiver("second", starttls, "second@example.com", on_call="shop", tier=2, after="20s", **user)
        self.receiver("tls", f"smtps://localhost:{TLS}", "tls@example.com", **user)
        self.receiver("stranger", f"smtp+starttls://127.0.0.1:{STARTTLS}", "ops@example.com", **user)
        self.receiver("picky", plain, GONE)
        self.receiver("partly", plain, GONE, "here@example.com")
        turns = {"turn": "1h", "from": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(hand_over_s - 3600))}
        people = {name: {"teams": ["shop"], "contact": f"{name}@example.com"} for name in ("ann", "bob")}
        people["cy"] = {"teams": ["shop"], "contact": "extension 12"}
        self.write("Roster", "roster", {"people": people, "on_call": {
            "shop": [{"people": ["ann", "bob"], **turns}, {"people": ["cy"], **turns}]}})

    def receiver(self, name, url, *to, **more):
        self.write("Receiver", name, {"type": "email", "url": url, "from": "evenkeel@example.com", "to": to, **more})

    def write(self, kind, name, spec):
        document = {"apiVersion": "evenkeel/v1", "kind": kind, "metadata": {"name": name}, "spec": spec}
        (self.folder / f"{name}.yaml").write_text(json.dumps(document) + "\n")

    def apply(self, without=()):
        for name in without:
            (self.folder / f"{name}.yaml").unlink()
        once(EVENKEEL, "policy", "apply", self.folder, *self.log, "--by", "ann")


def status():
    return json.load(urllib.request.urlopen(f"http://127.0.0.1:{API}/status.json"))


def incident(service):
    [found] = [it["id"] for it in status()["incidents"] if it["service"] == service]
    return found


def tells(folder, log, policies, hand_over_s, controllers, processes):
    def start(*words):
        out = open(folder / f"{len(processes)}.log", "w")
        processes.append(subprocess.Popen([EVENKEEL, *map(str, words)], stdout=out, stderr=subprocess.STDOUT))
        return processes[-1]

    def alert():
        started = start("alert", *log, "--listen", f"127.0.0.1:{API}", "--ca-file", folder / "ca.pem")
        wait("its API is served", 20, lambda: is_served(API))
        return started

    def why(service):
        return once(EVENKEEL, "alert", *log, "--why", incident(service))

    start("run", *log)
    wait("a log is there", 20, lambda: (folder / "data/outputs").exists())
    policies.apply()
    alerting = alert()
    fail(log, "checkout")
    wait("nobody could be told", 30, lambda: status()["counts"].get("retried", 0) >= 4)
    assert not Mailbox.got
    for controller in controllers:
        controller.start()
    wait("the servers are back, and it is told", 40, lambda: kinds("mail", "checkout") and kinds("tls", "checkout"))
    assert time.time() < hand_over_s, "before the hand-over, or nothing is tested"
    wait("it is told again", 20, lambda: kinds("mail", "checkout").count("Still open") >= 2)
    fail(log, ODD)
    wait("a service with an odd name is told of", 45, lambda: kinds("mail", "zahlung"))
    [(to, mail)] = mails("mail", "zahlung")[:1]
    assert mail["Bcc"] is None and to == ["ann@example.com", "ops@example.com"] and mail["To"] == ", ".join(to), (to, mail)
    assert "zahlung-größe  Bcc: eve@example.com    root: none" in mail["Subject"], mail["Subject"]
    assert [line for line in text(mail).splitlines() if line.startswith("root: ")] == [f"root: {ODD}".replace("\r", " ").replace("\n", " ")]
    wait("the second tier is told", 40, lambda: kinds("second", "checkout"))
    assert mails("second", "checkout")[0][0] == ["second@example.com"] and "on_call: cy <extension 12>" in text(mails("second")[0][1])
    taken = urllib.request.Request(f"http://127.0.0.1:{API}/acknowledge/{incident('checkout')}", method="POST")
    assert urllib.request.urlopen(taken).status == 200, "somebody takes it on"
    time.sleep(1)
    before = len(mails("mail", "checkout"))
    wait("the hand-over", 90, lambda: time.time() > hand_over_s + 1)
    fail(log, "search")
    wait("whoever is on call now is told", 45, lambda: kinds("mail", "search"))
    assert mails("mail", "search")[0][0] == ["bob@example.com", "ops@example.com"], mails("mail", "search")[0][0]
    assert {tuple(to) for to, _ in mails("mail", "checkout")} == {("ann@example.com", "ops@example.com")}
    assert set(kinds("mail", "checkout")[before:]) <= {"Resolved"}, "what somebody took on is not told again"
    print("ok: a hand-over takes effect at its time, and what somebody took on is not told again", flush=True)

    wait("a refused address is said", 20, lambda: "550" in why("search"))
    said = [line for line in why("search").splitlines() if "550" in line]
    assert all("refused" in line and GONE in line for line in said) and {line.split()[1] for line in said} == {"picky", "partly"}, said
    assert not mails("picky") and [to for to, _ in mails("partly", "search")] == [["here@example.com"]]
    assert not mails("stranger") and "stranger" not in why("search"), "a server with another's certificate gets nothing"
    assert Mailbox.users == {USER.encode()}
    print("ok: one gone address is said, keeps nobody from being told, and strangers get nothing", flush=True)

    wait("TLS from the first byte", 20, lambda: kinds("tls", "search"))
    policies.apply(without=["tls"])
    wait("a receiver that is taken out hears so", 20, lambda: "Not over, told here no more" in kinds("tls", "search"))
    alerting.kill()
    alerting.wait()
    policies.apply(without=["partly"])
    alert()
    wait("one that was taken out unheard is said to be", 20, lambda: "partly" in why("search") and "removed" in why("search"))
    wait("all is over", 180, lambda: all("Resolved" in kinds("mail", it) for it in ("checkout", "zahlung", "search")))
    time.sleep(2)
    threads = {name: check_threads(name) for name in ("mail", "second", "tls", "partly")}
    assert threads["mail"] == 3, threads
    last = {it: kinds("mail", it)[-1] for it in ("checkout", "zahlung", "search")}
    assert set(last.values()) == {"Resolved"}, last
    print(f"ok: {len(Mailbox.got)} messages in {threads} threads, each once; of all others it is said why not", flush=True)


def needs_certificates(folder, log, policies):
    broken = folder / "broken.pem"
    broken.write_text("no certificate\n")

    def told(name):
        return subprocess.run([EVENKEEL, "alert", *log, "--policies", folder / name, "--ca-file", broken, "--once", "--from-start",
                               "--state", folder / f"state-{name}"], capture_output=True, text=True)

    for name, url in [("plain", f"smtp://127.0.0.1:{PLAIN}"), ("secure", f"smtps://localhost:{TLS}")]:
        (folder / name).mkdir()
        policies.folder = folder / name
        policies.receiver(name, url, "here@example.com")
    plain, secure = told("plain"), told("secure")
    assert plain.returncode == 0 and len(mails("plain")) == 6, (plain, len(mails("plain")))
    assert secure.returncode not in (0, 1) and "ca_file" in secure.stderr and not mails("secure"), secure
    print("ok: certificates matter to TLS alone", flush=True)


def main():
    if not shutil.which("openssl"):
        print("skipped: not installed: openssl")
        return
    if not virtual.inside():
        run = virtual.runner("venv-mail", PACKAGES)
        sys.exit(run(__file__) if run else 0)
    folder, processes = Path(tempfile.mkdtemp(prefix="evenkeel-mail-")), []
    logging.disable()  # aiosmtpd says much of every client that turns away
    warnings.simplefilter("ignore", UserWarning)
    controllers, log = servers(certificates(folder)), ["--data", str(folder / "data")]
    hand_over_s = int(time.time()) + 90
    policies = Policies(folder, log, hand_over_s)
    try:
        tells(folder, log, policies, hand_over_s, controllers, processes)
        needs_certificates(folder, log, policies)
        print("all held")
    except BaseException:
        for path in sorted(folder.glob("*.log")):
            print(f"--- {path.name}\n" + "\n".join(path.read_text().splitlines()[-15:]))
        for to, mail in Mailbox.got[-20:]:
            print(to, mail["Message-ID"], mail["Subject"], text(mail).splitlines()[0])
        raise
    finally:
        for process in processes:
            process.kill()
            process.wait()
        for controller in controllers:
            controller.stop(no_assert=True)
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
