"""The status page in a real browser, against the stand-in of mock.py.

    python3 e2e/page/test_page.py [PART OF A TEST'S NAME]
"""

import gzip
import json
import re
import sys
import time

import audit
import mock
import runner
from browser import Browser, BrowserError, find

ROWS = "[...document.querySelectorAll('.units tbody tr')]"
STATES = [f"{name}/" for name in mock.SCENARIOS]
PLACES = [*STATES, "normal/#/unit/u0", "parked/#/unit/u2", "hostile/#/unit/u0", "hostile/#/unit/u1", "normal/#/unit/u999", "normal/#/tail", "hostile/#/tail", "forbidden/#/tail"]


def opened(browser, site, place, **how):
    """A tab that shows this place with its figures."""
    tab = browser.tab(**how)
    tab.go(f"{site.address}/{place}")
    if "#/unit/u999" in place:
        tab.until("document.querySelector('h1').textContent.startsWith('No such')")
    elif "#/unit/" in place:
        tab.until("document.querySelectorAll('.figures dd').length > 4")
    elif "#/tail" in place:
        tab.until("/Waiting|Not shown|only for/.test(document.querySelector('.tail .said').textContent)")
    else:
        tab.until("document.querySelector('.verdict h1').textContent !== 'Asking Pilcrow'")
        tab.until("document.querySelector('.table .said').textContent !== '' && document.querySelector('.value').textContent !== ''")
    return tab


def equal(found, expected, what=""):
    assert found == expected, f"{what} found {audit.show(found)}, expected {audit.show(expected)}"


def text(tab, selector):
    return tab.eval(f"document.querySelector({json.dumps(selector)}).textContent")


def column(tab, name):
    return tab.eval(f"{ROWS}.map((row) => row.querySelector('.c-{name}').textContent)")


def every_state_loads_without_errors_and_asks_no_other_host(browser, site):
    for place in PLACES:
        tab = opened(browser, site, place)
        expected = "404" if "u999" in place else "403" if "forbidden" in place else "no status"
        found = [wrong for wrong in audit.problems(tab, site.address) if f"a status of {expected}" not in wrong]
        equal(found, [], place)
        assert len(tab.requests) >= 4, f"{place}: only {tab.requests} was asked"
        tab.close()


def the_head_says_whether_it_works_and_what_to_do(browser, site):
    for scenario, title, hint in (("normal", "Everything arrives", "acknowledged the last lines"), ("outage", "Loki is not accepting lines", "its own log says why"),
                                  ("empty", "No container logs found", "pilcrow doctor"), ("parked", "Loki refuses some streams", "what Loki answered"),
                                  ("starting", "Starting", "first scan")):
        tab = opened(browser, site, f"{scenario}/")
        equal(text(tab, "h1"), title, scenario)
        assert hint in text(tab, ".verdict"), f"{scenario}: {text(tab, '.verdict')}"
        assert title == "Everything arrives" or tab.eval("document.title").startswith(title), tab.eval("document.title")
        tab.close()


def the_cards_tell_about_loki_and_the_node(browser, site):
    tab = opened(browser, site, "outage/")
    cards = text(tab, ".overview")
    for said in ("http://loki.monitoring:3100", "503 Service Unavailable", "Outage since", "38.5 MiB", "6.12.47+rpt-rpi-2712", "io_uring", "the kernel has no BTF"):
        assert said in cards, f"{said} is not in {cards}"
    tab.close()


def the_table_sorts_by_every_column_in_both_directions(browser, site):
    tab = opened(browser, site, "normal/")
    for name in ("namespace", "pod", "container"):
        tab.click(f".c-{name} button")
        names = column(tab, name)
        # A row may tell its namespace and reason beside the pod's name.
        names = tab.eval(f"{ROWS}.map((row) => row.querySelector('.c-{name} bdi').textContent)")
        equal(names, tab.eval(f"{json.dumps(names)}.toSorted((a, b) => a.localeCompare(b))"), name)
        equal(tab.eval(f"document.querySelector('.c-{name}').ariaSort"), "ascending")
        tab.click(f".c-{name} button")
        turned = tab.eval(f"{ROWS}.map((row) => row.querySelector('.c-{name} bdi').textContent)")
        equal(turned, tab.eval(f"{json.dumps(turned)}.toSorted((a, b) => b.localeCompare(a))"), name)
    tab.click("thead .c-errors button")
    tab.move(5, 5)
    errors = [int(e.replace(",", "")) for e in column(tab, "errors")]
    equal(errors, sorted(errors, reverse=True), "errors")
    tab.close()


def the_filter_and_the_states_choose_rows(browser, site):
    tab = opened(browser, site, "normal/")
    equal(len(column(tab, "pod")), 20)
    tab.key("/", "Slash", "/")
    equal(tab.eval("document.activeElement.id"), "filter", "the key / goes to the filter")
    tab.type("SHOP app")
    equal(tab.eval(f"{ROWS}.every((row) => row.textContent.includes('shop'))"), True)
    equal(text(tab, ".table .said"), "3 containers")
    tab.eval("(() => { const f = document.getElementById('filter'); f.value = ''; f.dispatchEvent(new Event('input')); })()")
    tab.click(".chip.excluded")
    equal(text(tab, ".table .said"), "2 containers")
    assert "relabel_configs[2]" in text(tab, ".units tbody"), "the rule that excludes is shown"
    tab.click(".chip.excluded")
    equal(len(column(tab, "pod")), 20)
    tab.close()


def rows_stay_where_they_are_while_somebody_points_at_them(browser, site):
    tab = opened(browser, site, "normal/")
    tab.click("thead .c-lines button")
    box = tab.eval(f"(() => {{ const b = {ROWS}[2].getBoundingClientRect(); return [b.x + 200, b.y + 10]; }})()")
    tab.move(*box)
    tab.until("document.querySelector('.units tbody').matches(':hover')")
    before, lines = tab.eval(f"{ROWS}.map((row) => row.unitId)"), column(tab, "lines")
    # The other way round, so that each later answer would turn them.
    tab.eval("app.choice.down = !app.choice.down")
    tab.until(f"JSON.stringify({ROWS}.map((row) => row.querySelector('.c-lines').textContent)) !== {json.dumps(json.dumps(lines, separators=(',', ':')))}", "figures go on")
    equal(tab.eval(f"{ROWS}.map((row) => row.unitId)"), before)
    tab.move(5, 5)
    tab.until(f"{ROWS}[0].unitId !== {json.dumps(before[0])}", "and are sorted again afterwards")
    tab.close()


def a_containers_page_tells_labels_rules_files_and_stages(browser, site):
    tab = opened(browser, site, "parked/")
    tab.click(".chip.parked")
    tab.click(".units tbody a")
    tab.until("document.querySelectorAll('.figures dd').length > 4")
    equal(text(tab, "h1"), "checkout-7c9d5b88d4-8kqzw")
    equal(tab.eval("document.activeElement.tagName"), "H1", "the focus goes to the new page")
    page = text(tab, "main")
    for said in ("parked", "Per stream rate limit", "Last refusal", "job=shop/app", "cluster=home-k8s", "sets stream=\"stdout | stderr\"", "removed: container=app", "0.log",
                 "pipeline_stages[1]", "for all containers of this node"):
        assert said in page, f"{said} is not in {page}"
    equal(tab.eval("document.querySelectorAll('.rules > li').length"), 10, "rules, told once for both streams")
    tab.eval("history.back()")
    tab.until("document.querySelector('.table .said')?.textContent === '2 containers'", "the choice is kept")
    equal(audit.problems(tab, site.address), [])
    tab.close()


def a_line_that_is_written_meanwhile_appears_in_the_live_tail(browser, site):
    node = site.nodes["normal"]
    tab = opened(browser, site, "normal/#/unit/u0")
    node.emit("of another container", unit=1)
    node.emit("now! <b>bold</b>", stream="stderr")
    tab.until("document.querySelector('.lines').textContent.includes('now! <b>bold</b>')")
    assert "another" not in text(tab, ".lines"), "only this container's lines are asked for"
    equal(tab.eval("document.querySelectorAll('.lines .stderr').length"), 1)
    tab.click(".tail .tools button")
    node.emit("while paused")
    tab.until("/1 wait/.test(document.querySelector('.tail .said').textContent)")
    assert "while paused" not in text(tab, ".lines")
    tab.click(".tail .tools button")
    tab.until("document.querySelector('.lines').textContent.includes('while paused')")
    equal(audit.problems(tab, site.address), [])
    tab.close()


def the_live_tail_greps_and_shows_raw_lines(browser, site):
    node = site.nodes["normal"]
    tab = opened(browser, site, "normal/#/unit/u0")
    tab.click(".tail input[type=search]")
    tab.type("err.r")
    wait_for(lambda: any("grep=err.r" in path for path in site.server.asked), "grep is asked of the program")
    tab.until("document.querySelector('.tail .said').textContent.startsWith('Waiting')")
    node.emit("fine")
    node.emit("an error")
    tab.until("document.querySelector('.lines').textContent.includes('an error')")
    assert "fine" not in text(tab, ".lines")
    tab.eval("(() => { const s = document.querySelector('.tail select'); s.value = 'raw'; s.dispatchEvent(new Event('change')); })()")
    wait_for(lambda: any("mode=raw" in path for path in site.server.asked), "raw lines are asked for")
    tab.close()


def the_live_tail_keeps_a_thousand_lines(browser, site):
    node = site.nodes["normal"]
    tab = opened(browser, site, "normal/#/unit/u0")
    for i in range(2500):
        node.emit(f"line {i}")
    tab.until("document.querySelector('.lines').textContent.includes('line 2499')")
    equal(tab.eval("document.querySelectorAll('.lines .entry').length"), 1000)
    tab.eval("document.querySelector('.lines').scrollTop = 0")
    tab.until("!document.querySelector('.newest').hidden", "who reads above is not pulled down")
    tab.close()


def the_live_tail_comes_back_after_the_connection_ends(browser, site):
    node = mock.Node("normal")
    site.nodes["normal"], kept = node, site.nodes["normal"]
    try:
        tab = opened(browser, site, "normal/#/tail")
        with node.hold:
            node.cut = True
            node.hold.notify_all()
        tab.until("document.querySelector('.tail .said').textContent.includes('trying again')")
        node.cut = False
        tab.until("document.querySelector('.tail .said').textContent.startsWith('Waiting')")
        node.emit("after all")
        tab.until("document.querySelector('.lines').textContent.includes('after all')")
        tab.close()
    finally:
        site.nodes["normal"] = kept


def where_live_tail_is_not_allowed_the_page_says_how(browser, site):
    for place in ("forbidden/#/unit/u0", "forbidden/#/tail"):
        tab = opened(browser, site, place)
        tab.until("document.querySelector('.tail .said').textContent.includes('http.tail: true')")
        tab.close()


def hostile_names_and_lines_are_shown_as_text(browser, site):
    node = site.nodes["hostile"]
    elements = "document.querySelectorAll('img, iframe, object, embed, script:not([src=\"page.js\"]), [onerror], a[href^=\"javascript\"]').length"
    for place in ("hostile/", "hostile/#/unit/u0", "hostile/#/unit/u1", "hostile/#/unit/%3Cscript%3E", "hostile/#/%22%3E%3Cimg%20src%3Dx%20onerror%3Dalert(1)%3E", "hostile/#/tail"):
        tab = browser.tab()
        tab.go(f"{site.address}/{place}")
        tab.until("document.querySelector('.who').textContent.includes('<script>')")
        if "tail" in place or "/u0" in place:
            tab.until("document.querySelector('.tail .said').textContent.startsWith('Waiting')")
            node.emit(f"{mock.SCRIPT}{mock.IMAGE}\u202etxt\u001b[31m\u0000")
            tab.until("document.querySelector('.lines').textContent.includes('onerror=')")
            assert "‹U+202E›txt\\x1b[31m\\x00" in text(tab, ".lines"), text(tab, ".lines")
        if place == "hostile/":
            tab.until(f"{ROWS}.length === 7")
            for name in ("two\\x0alines", "a\\x09b‹U+61C›", "soft\\xadtag‹U+E0041›"):
                assert name in text(tab, ".units"), f"{name} is not in {text(tab, '.units')}"
            assert mock.SCRIPT in text(tab, ".units") and mock.IMAGE in text(tab, ".units"), text(tab, ".units")
        equal(tab.eval(elements), 0, place)
        equal(tab.eval("[typeof window.hacked, /[\\u202a-\\u202e\\u2066-\\u2069]/.test(document.body.innerText)]"), ["undefined", False], place)
        unexpected = [error for error in tab.errors if "404" not in error]  # an ID that is not there
        equal([unexpected, audit.elsewhere(tab, site.address), audit.sideways(tab)], [[], [], []], place)
        tab.close()


def nothing_scrolls_sideways_on_a_phone(browser, site):
    for place in PLACES:
        tab = opened(browser, site, place, width=360, height=740, phone=True)
        equal(audit.sideways(tab), [], place)
        tab.close()


def every_text_has_contrast_in_light_and_dark(browser, site):
    for dark in (False, True):
        for place in PLACES:
            tab = opened(browser, site, place, dark=dark)
            equal(audit.contrast(tab), [], f"{place} dark: {dark}")
            tab.close()


def axe_finds_nothing(browser, site):
    for dark, width in ((False, 1280), (True, 1280), (False, 360)):
        for place in ("normal/", "outage/", "parked/", "empty/", "normal/#/unit/u0", "parked/#/unit/u2", "normal/#/tail", "forbidden/#/tail"):
            tab = opened(browser, site, place, dark=dark, width=width)
            equal(audit.axe(tab), [], f"{place} dark: {dark}, {width} px")
            tab.close()


def the_keyboard_reaches_everything_in_the_order_of_reading(browser, site):
    tab = opened(browser, site, "normal/")
    names = []
    for _ in range(60):
        tab.key("Tab")
        names.append(tab.eval("(() => { const e = document.activeElement; return e === document.body ? 'end' : e.className || e.id || e.textContent; })()"))
        if names[-1] == "end":
            break
        shown = tab.eval("(() => { const s = getComputedStyle(document.activeElement); return s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2; })()")
        assert shown, f"{names[-1]} does not show that it has the focus"
    equal(names[:5], ["skip", "brand", "to-overview", "to-tail", "quiet"])
    equal(names[5:10], ["plot"] * 5)
    equal(names[10:14], ["chip waiting", "chip collecting", "chip excluded", "chip gone"])
    equal(names[14:24], ["filter", "State", "Namespace", "Pod", "Container", "Lines/s", "Bytes/s", "Lag", "Errors", "Warnings"])
    assert len(names) > 40 and names[24].startswith("cert-manager"), names[24:]
    tab.eval("document.querySelector('.units tbody a').focus()")
    tab.key("Enter")
    tab.until("document.querySelectorAll('.figures dd').length > 4", "Enter opens the container's page")
    tab.close()


def a_chart_tells_its_values_under_the_pointer_and_by_arrow_keys(browser, site):
    tab = opened(browser, site, "normal/")
    x, y, width = tab.eval("(() => { const b = document.querySelector('.plot').getBoundingClientRect(); return [b.x, b.y + 20, b.width]; })()")
    tab.move(x + width / 2, y)
    tab.until("/\\d\\d:\\d\\d:\\d\\d +read [\\d,.]+ · acknowledged/.test(document.querySelector('.readout.shown').textContent)")
    tab.move(5, 5)
    tab.until("!document.querySelector('.readout.shown')")
    tab.eval("document.querySelector('.plot').focus()")
    tab.key("ArrowLeft")
    first = text(tab, ".readout.shown")
    tab.key("ArrowLeft")
    assert first != text(tab, ".readout.shown"), first
    tab.key("Escape")
    equal(tab.eval("document.querySelector('.readout.shown')"), None)
    tab.close()


def ten_thousand_containers_stay_usable(browser, site):
    tab = opened(browser, site, "many/")
    equal(text(tab, ".table .said"), "100 of 10,000 containers")
    equal(len(column(tab, "pod")), 100)
    tab.click(".more")
    equal(len(column(tab, "pod")), 300)
    tab.eval("(() => { const f = document.getElementById('filter'); f.value = 'worker-07777-'; f.dispatchEvent(new Event('input')); })()")
    equal(text(tab, ".table .said"), "1 container")
    before = len([path for path in site.server.asked if path == "/many/api/v1/units"])
    statuses = len([path for path in site.server.asked if path == "/many/api/v1/status"])
    wait_for(lambda: len([p for p in site.server.asked if p == "/many/api/v1/status"]) >= statuses + 4, "the status is asked for")
    units = len([p for p in site.server.asked if p == "/many/api/v1/units"]) - before
    assert units <= 2, f"{units} times the long list during four of the status"
    equal(audit.problems(tab, site.address), [])
    tab.close()


def a_program_that_goes_away_is_told_and_comes_back(browser, site):
    node = mock.Node("normal")
    site.nodes["normal"], kept = node, site.nodes["normal"]
    try:
        tab = opened(browser, site, "normal/")
        node.cut = True
        tab.until("document.querySelector('h1').textContent === 'Pilcrow does not answer'")
        assert text(tab, ".value") != "", "what was known stays"
        assert "kubectl" in text(tab, ".verdict")
        node.cut = False
        tab.until("document.querySelector('h1').textContent === 'Everything arrives'")
        node.standby = True
        tab.until("document.querySelector('.verdict').textContent.includes('503: standing by')")
        tab.close()
        node.cut = True
        never = browser.tab()
        never.go(f"{site.address}/empty/")  # a page that is there, and answers that are not
        site.nodes["empty"].cut = True
        never.until("document.querySelector('h1').textContent === 'Pilcrow does not answer'")
        never.close()
    finally:
        site.nodes["normal"] = kept
        site.nodes["empty"].cut = False


def a_reader_that_is_too_busy_to_tell_its_containers_is_no_fault(browser, site):
    node = mock.Node("normal")
    site.nodes["normal"], kept = node, site.nodes["normal"]
    try:
        tab = opened(browser, site, "normal/")
        whole = node.status
        node.status = lambda: {**whole(), "units": None}
        node.busy = True
        asked = len(site.server.asked)
        wait_for(lambda: len(site.server.asked) > asked + 5, "it goes on asking")
        equal(text(tab, "h1"), "Everything arrives")
        equal(len(column(tab, "pod")), 20, "rows that were known stay")
        tab.close()
    finally:
        site.nodes["normal"] = kept


def nothing_is_asked_while_the_page_cannot_be_seen(browser, site):
    tab = opened(browser, site, "starting/")
    count = lambda: len([path for path in site.server.asked if path.startswith("/starting/api/")])  # noqa: E731
    tab.eval("Object.defineProperty(document, 'hidden', {get: () => window.away, configurable: true}); window.away = true; document.dispatchEvent(new Event('visibilitychange'));")
    tab.until("!app.asking")
    hidden = count()
    time.sleep(2.5)  # two rounds
    equal(count(), hidden)
    tab.eval("window.away = false; document.dispatchEvent(new Event('visibilitychange'));")
    wait_for(lambda: count() > hidden + 1, "it asks again")
    tab.close()


def colours_change_by_the_button_and_nothing_is_stored(browser, site):
    tab = opened(browser, site, "normal/")
    grounds = []
    for _ in range(3):
        tab.click("#theme")
        grounds.append(tab.eval("getComputedStyle(document.body).backgroundColor"))
    assert grounds[0] != grounds[1], grounds
    equal(grounds[2], grounds[0], "auto, where the system is light")
    equal(tab.eval("[localStorage.length, sessionStorage.length, document.cookie]"), [0, 0, ""])
    tab.close()


def the_sources_parse_no_markup_and_are_small(_browser, _site):
    sources = {file.name: file.read_text() for file in mock.PAGE.iterdir() if file.suffix in (".js", ".html", ".css")}
    for name, source in sources.items():
        found = re.findall(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\b|new Function|DOMParser|srcdoc|style=\"|https?://(?!www\.w3\.org/2000/svg)\S+", source)
        equal(found, [], name)
        assert len(source.splitlines()) <= 450, f"{name} has {len(source.splitlines())} lines"
    equal(sorted((mock.PAGE / "ORDER").read_text().split()), sorted(name for name in sources if name.endswith(".js")))
    size = sum(len(gzip.compress(part)) for part in (mock.script(), sources["page.css"].encode(), sources["index.html"].encode()))
    assert size < 60 * 1024, f"{size} bytes compressed"


def wait_for(true, what):
    for _ in range(600):
        if true():
            return
        time.sleep(0.05)
    raise BrowserError(f"it does not happen: {what}")


TESTS = [test for test in list(globals().values()) if getattr(test, "__module__", None) == __name__ and "_" in test.__name__ and test is not wait_for]

if __name__ == "__main__":
    with mock.Mock() as site, Browser(find()) as browser:
        good = runner.run(TESTS, (browser, site), *sys.argv[1:2])
    sys.exit(0 if good else 1)
