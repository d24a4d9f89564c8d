// One container's page: its figures, its labels and how each rule changed them, files, pipeline, the last refusal, live tail.

/** Gives {node, show, missing, close}; `show` takes what /api/v1/units/ID answers. */
function unitPage(page, id) {
  const title = h('h1', { tabindex: '-1', text: '…' });
  const where = h('p', { class: 'where' });
  const state = h('div', { class: 'stateline' });
  const figures = h('dl', { class: 'figures' });
  const refusal = h('div');
  const labels = h('div');
  const files = h('div');
  const stages = h('div');
  const tail = liveTail(page, new URLSearchParams({ unit: id }), false);
  const details = h('div', { class: 'details' },
    state, figures, refusal, tail.node, labels, h('div', { class: 'pair' }, files, stages));
  const missing = h('p', { class: 'text', hidden: true });
  const node = h('div', { class: 'unit' },
    h('p', { class: 'back' }, h('a', { href: '#/', text: '← All containers' })), title, where, missing, details);

  function show(unit) {
    missing.hidden = true;
    details.hidden = false;
    say(title, visibleName(unit.pod));
    whenChanged(where, unit.pod, () => [
      h('span', null, 'namespace ', h('b', { name: unit.namespace })), h('span', null, 'container ', h('b', { name: unit.container }))]);
    whenChanged(state, `${unit.state} ${unit.reason}`, () => [stateMark(unit.state), unit.reason ? h('span', { text: unit.reason }) : null]);
    showFigures(unit);
    whenChanged(refusal, JSON.stringify(unit.last_refusal), () => [unit.last_refusal ? h('section', { class: 'card refused' },
      h('h2', { text: 'Last refusal by Loki' }), h('p', null, h('time', { text: clock(unit.last_refusal.at, page.status?.now) }), ' ',
        h('span', { text: unit.last_refusal.text }))) : null]);
    whenChanged(labels, JSON.stringify(unit.streams), () => [h('section', { class: 'card' }, h('h2', { text: 'Labels' }),
      ...(unit.streams && unit.streams.length ? streams(unit.streams) : [h('p', { class: 'text', text: 'None: its lines are not sent.' })]))]);
    whenChanged(files, JSON.stringify(unit.files), () => [filesCard(unit.files || [])]);
    whenChanged(stages, JSON.stringify(unit.stages), () => [stagesCard(unit.stages)]);
  }

  function showFigures(unit) {
    const rows = [
      ['Lines/s', rate(unit.lines_per_s)], ['Bytes/s', bytes(unit.bytes_per_s)], ['Waiting', bytes(unit.lag_bytes)],
      ['Lines in all', count(unit.lines)], ['Bytes in all', bytes(unit.bytes)],
      ...Object.entries(unit.levels || {}).filter(([, n]) => n > 0).map(([level, n]) => [level[0].toUpperCase() + level.slice(1), count(n)]),
    ];
    whenChanged(figures, JSON.stringify(rows), () => facts(rows));
  }

  function isMissing() {
    say(title, 'No such container');
    say(missing, 'It is gone, or Pilcrow was restarted and gave it another number.');
    where.replaceChildren();
    where.shownKey = null;
    missing.hidden = false;
    details.hidden = true;
    tail.close();
  }
  return { node, show, missing: isMissing, focus: () => title.focus(), close: tail.close };
}

/** The streams of a container; those whose labels were made alike, but for the name of the stream, are told once. */
function streams(all) {
  const same = new Map();
  for (const s of all) {
    const own = (text) => String(text).replaceAll(`"${s.stream}"`, '""');
    const { stream: _named, ...shared } = s.labels;
    const key = JSON.stringify([shared, s.metadata, (s.rules || []).map((r) => [r.rule, own(r.text), own(JSON.stringify(r.labels))])]);
    if (!same.has(key)) same.set(key, []);
    same.get(key).push(s);
  }
  return [...same.values()].map((alike) => {
    const [first] = alike;
    const names = alike.map((s) => s.stream);
    const together = (value) => (value === first.stream ? names.join(' | ') : value);
    const labels = (of) => Object.fromEntries(Object.entries(of).map(([k, v]) => [k, k === 'stream' ? together(v) : v]));
    const steps = (first.rules || []).map((r) => ({
      rule: r.rule, labels: r.labels && labels(r.labels), text: String(r.text).replaceAll(`"${first.stream}"`, `"${names.join(' | ')}"`) }));
    return h('div', { class: 'stream' }, h('h3', { text: names.join(' and ') }),
      labelList(Object.entries(labels(first.labels)).map(([k, v]) => [k, v, ''])),
      Object.keys(first.metadata || {}).length ? h('div', { class: 'metadata' }, h('h4', { text: 'Structured metadata' }),
        labelList(Object.entries(first.metadata).map(([k, v]) => [k, v, '']))) : null,
      steps.length ? h('details', { open: true }, h('summary', { text: 'How they came about' }), rules(steps)) : null);
  });
}

/** [name, value, how]: `how` is '', 'new', 'changed' or 'removed'. */
function labelList(rows) {
  return h('ul', { class: 'labels' }, ...rows.map(([name, value, how]) => h('li', { class: how || null },
    how ? h('span', { class: 'unseen', text: `${how}: ` }) : null, h('b', { name }), '=', h('bdi', { name: value }))));
}

/** Each rule with what it changed. */
function rules(all) {
  let before = {};
  return h('ol', { class: 'rules' }, ...all.map((step) => {
    const after = step.labels || {};
    const changes = [
      ...Object.entries(after).filter(([k, v]) => before[k] !== v).map(([k, v]) => [k, v, k in before ? 'changed' : 'new']),
      ...Object.entries(before).filter(([k]) => !(k in after)).map(([k, v]) => [k, v, 'removed'])];
    before = after;
    return h('li', null, h('code', { text: step.rule }), h('span', { text: step.labels ? step.text : `${step.text || ''} The stream is dropped.` }), step.labels && changes.length ? labelList(changes) : null);
  }));
}

function filesCard(files) {
  return h('section', { class: 'card' }, h('h2', { text: 'Files' }), files.length === 0 ? h('p', { class: 'text', text: 'None is open or waits.' })
    : h('table', { class: 'plain' }, h('thead', null, h('tr', null, ...['File', 'Read', 'State'].map((t) => h('th', { scope: 'col', text: t })))),
      h('tbody', null, ...files.map((f) => {
        const part = f.bytes ? Math.min(1, f.position / f.bytes) : null;
        const bar = h('span', { class: 'bar' });
        if (part !== null) bar.append(h('span'));
        if (part !== null) bar.firstChild.style.width = `${part * 100}%`;
        return h('tr', null, h('td', null, h('bdi', { name: f.name })),
          h('td', null, bar, h('small', { text: f.bytes === null ? `to ${count(f.position)}` : `${bytes(f.position)} of ${bytes(f.bytes)}` })),
          h('td', { text: f.state }));
      }))));
}

function stagesCard(stages) {
  return h('section', { class: 'card' }, h('h2', { text: 'Pipeline' }),
    !stages || stages.length === 0 ? h('p', { class: 'text', text: 'No stages: lines are sent as they were written.' })
      : h('table', { class: 'plain' }, h('thead', null, h('tr', null,
        ...['Stage', 'Lines in', 'Dropped'].map((t, i) => h('th', { scope: 'col', class: i ? 'number' : null, text: t })))),
      h('tbody', null, ...stages.map((s) => h('tr', null, h('td', null, h('code', { text: s.stage }), h('small', { text: s.place })),
        h('td', { class: 'number', text: count(s.in) }), h('td', { class: `number${s.dropped ? '' : ' zero'}`, text: count(s.dropped) }))))),
    stages && stages.length ? h('p', { class: 'hint', text: 'Counted for all containers of this node with these stages together.' }) : null);
}
