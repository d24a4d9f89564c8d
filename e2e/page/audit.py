"""What is measured on any state of the page: axe-core's rules, contrast, width, and whether something was asked elsewhere.

In: a tab that shows something. Out: a list of what is wrong. axe-core is the version that package.json pins; without npm its
rules cannot be asked, which is an error of its own kind.
"""

import json
import shutil
import subprocess
from pathlib import Path

HERE = Path(__file__).parent
TARGET = HERE.parents[1] / "target/page"

# Every text's contrast with what is behind it, by WCAG's formula, colours as the browser paints them.
CONTRAST = """(() => {
  const canvas = document.createElement('canvas').getContext('2d', { willReadFrequently: true });
  const rgba = (color) => {
    canvas.clearRect(0, 0, 1, 1);
    canvas.fillStyle = color;
    canvas.fillRect(0, 0, 1, 1);
    const [r, g, b, a] = canvas.getImageData(0, 0, 1, 1).data;
    return [r, g, b, a / 255];
  };
  const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3]));
  const luminance = (c) => [0.2126, 0.7152, 0.0722].reduce((sum, part, i) => {
    const v = c[i] / 255;
    return sum + part * (v <= 0.03928 ? v / 12.92 : ((v + 0.055) / 1.055) ** 2.4);
  }, 0);
  const behind = (e) => {
    const layers = [];
    for (let at = e; at; at = at.parentElement) layers.push(rgba(getComputedStyle(at).backgroundColor));
    return layers.reverse().reduce((under, layer) => over(layer, under), [255, 255, 255]);
  };
  const wrong = [];
  const texts = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
  let measured = 0;
  for (let text = texts.nextNode(); text; text = texts.nextNode()) {
    const e = text.parentElement;
    if (!text.data.trim() || !e.checkVisibility({ visibilityProperty: true }) || e.closest('.unseen, script, noscript, option, :disabled')) continue;
    const style = getComputedStyle(e);
    const size = parseFloat(style.fontSize);
    if (size === 0) continue;
    const ground = behind(e);
    const [a, b] = [luminance(over(rgba(style.color), ground)), luminance(ground)].sort((x, y) => y - x);
    const ratio = (a + 0.05) / (b + 0.05);
    const large = size >= 24 || (size >= 18.66 && Number(style.fontWeight) >= 700);
    measured += 1;
    if (ratio < (large ? 3 : 4.5)) wrong.push(`${ratio.toFixed(2)}:1 of “${text.data.slice(0, 40)}” (${e.tagName}.${e.className})`);
  }
  return measured > 5 ? wrong : [`only ${measured} texts are visible`];
})()"""


class NotAvailable(Exception):
    """What is needed is not on this machine."""


def axe_source():
    """axe-core's text, fetched by npm once."""
    file = TARGET / "node_modules/axe-core/axe.min.js"
    if not file.exists():
        if not shutil.which("npm"):
            raise NotAvailable("no npm to fetch axe-core with: install nodejs and npm")
        TARGET.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(HERE / name, TARGET / name)
        done = subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=TARGET, capture_output=True, text=True)
        if done.returncode != 0:
            raise NotAvailable(f"npm cannot fetch axe-core: {done.stderr.strip().splitlines()[-1:]}")
    return file.read_text()


def axe(tab):
    """What axe-core finds against WCAG 2.2 AA and its own good practice."""
    tab.eval(f"void (() => {{ {axe_source()} }})()")
    found = tab.eval("axe.run(document, {resultTypes: ['violations']}).then((r) => r.violations.map((v) => "
                     "`${v.id}: ${v.help}: ${v.nodes.slice(0, 3).map((n) => n.target.join(' ') + ' ' + n.failureSummary.slice(0, 200)).join(' | ')}`))")
    return found


def contrast(tab):
    return tab.eval(CONTRAST)


def sideways(tab):
    """What is wider than the window."""
    return tab.eval("""(() => {
      // A phone's browser makes the page as wide as its widest element, so the screen is the measure.
      const width = Math.min(document.documentElement.clientWidth, screen.width);
      if (document.documentElement.scrollWidth <= width) return [];
      return [...document.querySelectorAll('body *')].filter((e) => e.getBoundingClientRect().right > width + 1 && !e.closest('.lines'))
        .slice(-5).map((e) => `${e.tagName}.${e.className} ends at ${e.getBoundingClientRect().right} of ${width}`);
    })()""")


def elsewhere(tab, address):
    """What was asked of anything but `address`."""
    return [url for url in tab.requests if not url.startswith((address, "data:"))]


def problems(tab, address):
    """What must be true of every state."""
    return [*tab.errors, *(f"asks {url}" for url in elsewhere(tab, address)), *sideways(tab)]


def show(found):
    return json.dumps(found, ensure_ascii=False, indent=1)
