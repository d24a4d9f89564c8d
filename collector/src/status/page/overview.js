// The front page: whether it works, the charts, Loki and the node. The table of containers is units.js.

/** Counts of containers while the reader is too busy to tell them. */
const UNKNOWN = { collecting: null, waiting: null, parked: 0, excluded: null, gone: null };

/** More than what is on its way anyway. */
const LATE_BYTES = 1 << 20;
const BEHIND_BYTES = 32 << 20;

/** What the head of the page says of a status: {level, title, text, todo: [..]}. `off`: since when nobody answers, or null; `instead`: what was
 * answered in place of a status. */
function verdict(status, off, instead) {
  if (off && instead) {
    return { level: 'bad', title: 'Pilcrow does not tell its status', text: 'This page asks again every second.', todo: [instead] };
  }
  if (off) {
    return {
      level: 'bad',
      title: 'Pilcrow does not answer',
      text: `For ${duration(Date.now() - off)}. ${status ? 'The figures below are from before. ' : ''}This page asks again every second.`,
      todo: ['Is the pod running, and is kubectl port-forward still up? kubectl get pods -A -l app.kubernetes.io/name=pilcrow -o wide'],
    };
  }
  if (!status) return { level: 'wait', title: 'Asking Pilcrow', text: '', todo: [] };
  const { loki, totals } = status;
  const units = status.units || UNKNOWN;
  const waits = totals.lag_bytes > 0 ? `${bytes(totals.lag_bytes)} wait on the disk` : 'Nothing waits';
  if (loki.outage_since) {
    return {
      level: 'bad',
      title: 'Loki is not accepting lines',
      text: `For ${duration(status.now - loki.outage_since)}. ${waits}; they are sent when Loki accepts lines again.`,
      todo: [...status.problems.filter((problem) => !loki.advice || !problem.endsWith(loki.advice)), remedy(loki)],
    };
  }
  if (status.problems.length > 0) {
    return {
      level: 'bad',
      title: status.problems.length === 1 ? 'There is a problem' : `There are ${status.problems.length} problems`,
      text: `${waits}.`,
      todo: status.problems,
    };
  }
  if (!status.ready) {
    return { level: 'wait', title: 'Starting', text: 'The first scan of the log folders is not done yet.', todo: [] };
  }
  if (units.parked > 0 || loki.parked_streams > 0) {
    return {
      level: 'warn',
      title: 'Loki refuses some streams',
      text: `${plural(Math.max(units.parked, loki.parked_streams), 'stream waits', 'streams wait')} on the disk and ${units.parked === 1 ? 'is' : 'are'} tried again; all others are sent.`,
      todo: ['Select “parked” below: each container says what Loki answered.'],
    };
  }
  if (status.units && units.collecting + units.waiting === 0) {
    return {
      level: 'warn',
      title: 'No container logs found',
      text: units.excluded > 0 ? `${plural(units.excluded, 'container is', 'containers are')} excluded by rules.` : 'The log folder has no containers.',
      todo: ['Run pilcrow doctor on this node: it names folders that are missing or cannot be read.'],
    };
  }
  if (totals.lag_bytes > BEHIND_BYTES) {
    return { level: 'warn', title: 'Working, but behind', text: `${waits}.`, todo: [] };
  }
  if (!loki.last_acknowledged) {
    return { level: 'wait', title: 'Waiting for the first lines', text: `${plural(units.collecting, 'container is', 'containers are')} followed; Loki has acknowledged nothing yet.`, todo: [] };
  }
  return {
    level: 'good',
    title: 'Everything arrives',
    text: `Loki acknowledged the last lines ${ago(loki.last_acknowledged, status.now)}. ${totals.lag_bytes < LATE_BYTES ? 'Nothing is late.' : `${waits}.`}`,
    todo: [],
  };
}

/** What to do about Loki's last answer. */
function remedy(loki) {
  const answer = loki.last_answer || '';
  if (loki.advice) return `${answer}; ${loki.advice}`;
  if (/^429/.test(answer)) return 'Loki answers 429: the limits of the tenant are reached. docs/operations.md says which to raise.';
  if (/^5/.test(answer)) return `Loki answers ${answer.slice(0, 3)}: its own log says why.`;
  return `Is Loki running, and may this node reach ${loki.url}?`;
}

const SIGNS = { good: 'M9 16.5l5 5 9-11', warn: 'M16 8v10m0 5v.5', bad: 'M11 11l10 10m0-10l-10 10', wait: 'M16 9v7l5 3' };

/** The front page. Gives {node, show, showUnits, close}. */
function overview(page) {
  const sign = svg('path');
  const title = h('h1', { tabindex: '-1' });
  const text = h('p', { class: 'text' });
  const todo = h('ul', { class: 'todo' });
  const head = h('section', { class: 'verdict wait', 'aria-labelledby': 'verdict' },
    svg('svg', { class: 'sign', viewBox: '0 0 32 32', 'aria-hidden': 'true' }, svg('circle', { cx: 16, cy: 16, r: 16 }), sign),
    h('div', null, h('div', { role: 'status' }, title), text, todo));
  title.id = 'verdict';
  const notes = h('ul', { class: 'notes' });

  const one = [{ name: '', class: 'in' }];
  const charts = {
    lines: chart('Lines per second', rate, [{ name: 'read', class: 'in' }, { name: 'acknowledged', class: 'out' }]),
    bytes: chart('Bytes per second', bytes, one, true),
    lag: chart('Waiting on the disk', bytes, [{ name: '', class: 'late' }], true),
    cpu: chart('CPU, of one core', percent, one),
    memory: chart('Memory', bytes, one, true),
  };
  charts.lines.node.classList.add('double');
  const loki = h('dl');
  const node = h('dl');
  const table = unitsTable(page);
  const root = h('div', { class: 'overview' }, head, notes,
    h('h2', { class: 'unseen', text: 'The last 15 minutes' }),
    h('div', { class: 'charts' }, ...Object.values(charts).map((c) => c.node)),
    h('div', { class: 'pair' },
      h('section', { class: 'card' }, h('h2', { text: 'Loki' }), loki),
      h('section', { class: 'card' }, h('h2', { text: 'This node' }), node)),
    table.node);

  function show(status, off, instead) {
    const said = verdict(status, off, instead);
    head.className = `verdict ${said.level}`;
    attribute(sign, 'd', SIGNS[said.level]);
    say(title, said.title);
    say(text, said.text);
    whenChanged(todo, JSON.stringify(said.todo), () => said.todo.map((t) => h('li', { text: t })));
    if (!status) return;
    root.classList.toggle('stale', Boolean(off));
    whenChanged(notes, JSON.stringify(status.notes), () => status.notes.map((t) => h('li', { text: t })));
    const { history, totals } = status;
    const live = page.live();
    charts.lines.update(history, [history.lines_read, history.lines_acknowledged], rate(live.lines));
    charts.bytes.update(history, [history.bytes_read], live.bytes === null ? '–' : `${bytes(live.bytes)}/s`);
    charts.lag.update(history, [history.lag_bytes], bytes(totals.lag_bytes));
    charts.cpu.update(history, [history.cpu_percent], percent(live.cpu));
    charts.memory.update(history, [history.memory_bytes], bytes(totals.memory_bytes));
    showLoki(status);
    showNode(status);
    table.showStatus(status);
  }

  function showLoki({ loki: l, totals, now }) {
    const rows = [
      ['Address', l.url],
      ['Last acknowledged', ago(l.last_acknowledged, now)],
      ['Last answer', l.last_answer, l.last_answer_at ? ago(l.last_answer_at, now) : null],
      l.outage_since ? ['Outage since', clock(l.outage_since, now), duration(now - l.outage_since)] : null,
      ['Waiting in memory', bytes(l.waiting_bytes)],
      ['Waiting on the disk', bytes(totals.lag_bytes)],
      ['Refused streams', count(l.parked_streams)],
      ['Acknowledged', plural(totals.lines_acknowledged, 'line', 'lines'), 'since the start'],
    ];
    whenChanged(loki, JSON.stringify(rows), () => facts(rows));
  }

  function showNode({ version, kernel, notifier, reader, started, now, totals }) {
    const why = (part) => (part.fallback_reason ? `instead of the better one: ${part.fallback_reason}` : null);
    const rows = [
      ['Pilcrow', version, `running for ${duration(now - started)}`],
      ['Kernel', kernel],
      ['Growth is detected by', notifier.backend, why(notifier)],
      ['Files are read by', reader.backend, why(reader)],
      ['Read', plural(totals.lines_read, 'line', 'lines'), `${bytes(totals.bytes_read)} since the start`],
      ['Dropped', plural(totals.lines_dropped, 'line', 'lines'), 'by rules, or refused by Loki for good'],
    ];
    whenChanged(node, JSON.stringify(rows), () => facts(rows));
  }

  return { node: root, show, showUnits: table.show, unitsWanted: table.wanted, focus: () => title.focus(), close: table.close };
}
