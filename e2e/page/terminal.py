"""Records a command in a terminal of its own as an animated SVG, which needs no script to play.

    python3 e2e/page/terminal.py TO.svg [--columns 100] [--rows 24] [--seconds 6] [--every 1.0] [--hold 0] -- COMMAND...
    python3 e2e/page/terminal.py docs/pictures/top.svg --top PROGRAM      # `top` of PROGRAM on the page's stand-in

After --seconds the command is sent `q` and, if that does not end it, is given time to end by itself.
"""

import argparse
import codecs
import fcntl
import os
import pty
import re
import select
import signal
import struct
import sys
import termios
import time
from html import escape
from pathlib import Path

import mock

CELL = (8.4, 18)  # of a font of 14 px
COLOURS = {"1": "b", "2": "d", "31": "r", "32": "g", "36": "c"}
STYLE = """text{font:14px ui-monospace,SFMono-Regular,Menlo,Consolas,monospace;fill:#d7dde5;white-space:pre}
.b{font-weight:700;fill:#fff}.d{fill:#8b95a3}.r{fill:#ff8f8f}.g{fill:#7fd48a}.c{fill:#7cc7e8}"""
SEQUENCE = re.compile(r"\x1b\[([?0-9;]*)([A-Za-z])|\x1b.|[^\x1b]", re.S)


class Terminal:
    """What is on the screen: rows of cells, each a character and its class. Knows what Pilcrow's commands and cargo write, no more."""

    def __init__(self, rows, columns):
        self.rows, self.columns = rows, columns
        self.x = self.y = 0
        self.kind = ""
        self.cells = self.blank(rows)

    def blank(self, rows):
        return [[(" ", "")] * self.columns for _ in range(rows)]

    def write(self, text):
        for sequence in SEQUENCE.finditer(text):
            if sequence[2]:
                self.control(sequence[1], sequence[2])
            elif sequence[0] == "\r":
                self.x = 0
            elif sequence[0] == "\n":
                self.y += 1
                if self.y == self.rows:
                    self.cells = self.cells[1:] + self.blank(1)
                    self.y -= 1
            elif sequence[0] >= " ":
                if self.x < self.columns:
                    self.cells[self.y][self.x] = (sequence[0], self.kind)
                self.x += 1

    def control(self, parameter, what):
        number = int(parameter) if parameter.isdigit() else 1
        if what == "m":
            self.kind = next((COLOURS[code] for code in parameter.split(";") if code in COLOURS), "")
        elif what == "H":
            self.x = self.y = 0
        elif what == "A":
            self.y = max(0, self.y - number)
        elif what == "K":
            start = 0 if parameter == "2" else min(self.x, self.columns)
            self.cells[self.y][start:] = [(" ", "")] * (self.columns - start)
        elif what == "J":
            self.cells[self.y + 1:] = self.blank(self.rows - self.y - 1)
        elif what == "h" and parameter == "?1049":
            self.cells = self.blank(self.rows)

    def svg(self):
        """The rows as SVG texts."""
        lines = []
        for y, row in enumerate(self.cells):
            spans = []
            for character, kind in row:
                if spans and (spans[-1][1] == kind or character == " "):
                    spans[-1][0] += character
                else:
                    spans.append([character, kind])
            while spans and not spans[-1][0].strip():
                spans.pop()
            if spans:
                spans[-1][0] = spans[-1][0].rstrip()
                inside = "".join(f'<tspan class="{kind}">{escape(text)}</tspan>' if kind else escape(text) for text, kind in spans)
                lines.append(f'<text x="12" y="{(y + 1) * CELL[1] + 8:.0f}" xml:space="preserve">{inside}</text>')
        return "".join(lines)


def record(command, rows, columns, seconds, every):
    """The screen each `every` seconds, without repetitions, as (when, SVG)."""
    terminal = Terminal(rows, columns)
    child, end = pty.fork()
    if child == 0:
        os.environ.update(TERM="xterm-256color", COLUMNS=str(columns), LINES=str(rows))
        os.environ.pop("NO_COLOR", None)
        os.execvp(command[0], command)
    fcntl.ioctl(end, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
    started = time.monotonic()
    frames, asked, taken = [], False, 0.0
    decoder = codecs.getincrementaldecoder("utf-8")("replace")
    while True:
        ready, _, _ = select.select([end], [], [], 0.05)
        now = time.monotonic() - started
        if ready:
            try:
                data = os.read(end, 65536)
            except OSError:
                data = b""
            if not data:
                break
            terminal.write(decoder.decode(data))
        elif now - taken >= every and not asked:
            taken = now
            frames.append((now, terminal.svg()))
        if now > seconds and not asked:
            asked = True
            os.write(end, b"q")
        if now > seconds + 60:
            os.kill(child, signal.SIGTERM)
            break
    os.waitpid(child, 0)
    frames.append((time.monotonic() - started, terminal.svg()))
    distinct = [frame for i, frame in enumerate(frames) if frame[1] and (i == 0 or frame[1] != frames[i - 1][1])]
    return distinct[1:] if len(distinct) > 2 else distinct


def animated(frames, rows, columns, every, hold):
    """One SVG that shows the frames by turns, each for `every` seconds and the last one for `hold` more."""
    width, height = columns * CELL[0] + 24, rows * CELL[1] + 24
    total = every * len(frames) + hold
    # Without animation, as for those who do not want motion, the last one stays.
    style = STYLE + f".f{{opacity:0;animation:f {total:.1f}s step-end infinite}}.f:last-child{{opacity:1;animation-name:l}}"
    for name, shown in (("f", every), ("l", every + hold)):
        style += f"@keyframes {name}{{0%{{opacity:1}}{100 * shown / total:.3f}%,100%{{opacity:0}}}}"
    style += "@media(prefers-reduced-motion){.f{animation:none}}"
    groups = "".join(f'<g class="f" style="animation-delay:{i * every - total:.1f}s">{svg}</g>' for i, (_, svg) in enumerate(frames))
    if len(frames) == 1:
        groups, style = frames[0][1], STYLE
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width:.0f} {height:.0f}" width="{width:.0f}" height="{height:.0f}">'
            f'<style>{style}</style><rect width="100%" height="100%" rx="8" fill="#14181e"/>{groups}</svg>\n')


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("to", type=Path)
    parser.add_argument("--columns", type=int, default=110)
    parser.add_argument("--rows", type=int, default=24)
    parser.add_argument("--seconds", type=float, default=6)
    parser.add_argument("--every", type=float, default=1.0)
    parser.add_argument("--hold", type=float, default=0, help="seconds that the last screen stays longer")
    parser.add_argument("--top", metavar="PROGRAM")
    # argparse takes no list that comes after options.
    mark = sys.argv.index("--") if "--" in sys.argv else len(sys.argv)
    options, command = parser.parse_args(sys.argv[1:mark]), sys.argv[mark + 1:]
    if bool(options.top) == bool(command):
        parser.error("either --top PROGRAM or -- COMMAND...")
    size = (options.rows, options.columns)
    if options.top:
        with mock.Mock() as site:
            command = [options.top, "top", "--url", f"{site.address}/parked"]
            frames = record(command, *size, options.seconds, options.every)
    else:
        frames = record(command, *size, options.seconds, options.every)
    if not frames:
        sys.exit("nothing was written")
    options.to.write_text(animated(frames, *size, options.every, options.hold))
    print(f"{options.to.name}: {len(frames)} frames, {options.to.stat().st_size / 1024:.0f} KiB")


if __name__ == "__main__":
    main()
