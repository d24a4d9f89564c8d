// The table of containers: filter, sort, states to choose from. Rows are kept by ID and only what changed is touched; some are
// drawn at first and more when asked for, so that 10,000 containers cost no more than a hundred.

const SHOWN_AT_FIRST = 100;
const ALARM = 60000; // how long errors stay marked after the last new one
const STATES = ['parked', 'waiting', 'collecting', 'excluded', 'gone'];
const errorsOf = (u) => (u.levels ? ['error', 'fatal', 'critical'].reduce((sum, level) => sum + (u.levels[level] || 0), 0) : null);
const warningsOf = (u) => (u.levels ? (u.levels.warn || 0) + (u.levels.warning || 0) : null);

/** Columns: what a row shows, what it is sorted by, and whether the largest comes first. */
const COLUMNS = [
  { key: 'state', title: 'State', by: (u) => STATES.indexOf(u.state) },
  { key: 'namespace', title: 'Namespace', by: (u) => u.namespace },
  { key: 'pod', title: 'Pod', by: (u) => u.pod },
  { key: 'container', title: 'Container', by: (u) => u.container },
  { key: 'lines', title: 'Lines/s', by: (u) => u.lines_per_s, number: true, text: (u) => rate(u.lines_per_s) },
  { key: 'bytes', title: 'Bytes/s', by: (u) => u.bytes_per_s, number: true, text: (u) => bytes(u.bytes_per_s) },
  { key: 'lag', title: 'Lag', by: (u) => u.lag_bytes, number: true, text: (u) => (u.lag_bytes ? bytes(u.lag_bytes) : '0') },
  { key: 'errors', title: 'Errors', by: errorsOf, number: true, text: (u) => count(errorsOf(u)), level: true },
  { key: 'warnings', title: 'Warnings', by: warningsOf, number: true, text: (u) => count(warningsOf(u)), level: true },
];

function stateMark(state) {
  return h('span', { class: `state ${STATES.includes(state) ? state : 'gone'}`, text: state });
}

/** The order of the table: by the chosen column, then the busiest first, then by name. */
function order(units, column, down) {
  const sign = down ? -1 : 1;
  const compare = (a, b) => (typeof a === 'string' ? a.localeCompare(b) : (a ?? -1) - (b ?? -1));
  return units.map((u) => [column.by(u), u]).sort(([a, x], [b, y]) =>
    sign * compare(a, b) || y.lines_per_s - x.lines_per_s || compare(x.namespace, y.namespace) || compare(x.pod, y.pod) || compare(x.id, y.id),
  ).map(([, u]) => u);
}

function unitsTable(page) {
  const choice = page.choice; // survives a visit to a container's page
  const heads = new Map();
  const rows = new Map();
  let units = [];
  let visibleNow = true;

  const filter = h('input', {
    id: 'filter', type: 'search', placeholder: 'Filter by name, state or reason', 'aria-label': 'Filter containers', autocomplete: 'off',
    spellcheck: 'false', on: { input: () => { choice.filter = filter.value; choice.limit = SHOWN_AT_FIRST; draw(true); } },
  });
  filter.value = choice.filter;
  const chips = new Map(STATES.map((state) => [state, h('button', {
    type: 'button', class: `chip ${state}`, 'aria-pressed': 'false',
    on: { click: () => { choice.state = choice.state === state ? null : state; choice.limit = SHOWN_AT_FIRST; draw(true); } },
  })]));
  const headRow = h('tr', null, ...COLUMNS.map((column) => {
    const button = h('button', { type: 'button', text: column.title, on: { click: () => sortBy(column) } });
    const cell = h('th', { scope: 'col', class: `c-${column.key}${column.number ? ' number' : ''}` }, button);
    heads.set(column.key, cell);
    return cell;
  }));
  const body = h('tbody');
  const said = h('p', { class: 'said', role: 'status' });
  const more = h('button', { type: 'button', class: 'more', hidden: true, on: { click: () => { choice.limit += 200; draw(true); } } });
  const table = h('table', { class: 'units', 'aria-describedby': 'units-said' }, h('caption', { class: 'unseen', text: 'Containers' }), h('thead', null, headRow), body);
  said.id = 'units-said';
  const node = h('section', { class: 'card table' },
    h('div', { class: 'tools' }, h('h2', { text: 'Containers' }), h('div', { class: 'chips', role: 'group', 'aria-label': 'States' }, ...chips.values()), filter),
    table, said, more);

  const seen = new IntersectionObserver(([entry]) => { visibleNow = entry.isIntersecting; }, { rootMargin: '400px' });
  seen.observe(node);

  function sortBy(column) {
    choice.down = choice.sort === column.key ? !choice.down : Boolean(column.number);
    choice.sort = column.key;
    draw(true);
  }

  /** While somebody points at a row or has the focus in one, rows stay where they are. */
  const isHeld = () => body.matches(':hover') || body.contains(document.activeElement);

  /** `anew`: the person asked for another order. */
  function draw(anew) {
    for (const [key, cell] of heads) attribute(cell, 'aria-sort', key === choice.sort ? (choice.down ? 'descending' : 'ascending') : null);
    for (const [state, chip] of chips) attribute(chip, 'aria-pressed', String(choice.state === state));
    const words = choice.filter.toLowerCase().split(/\s+/).filter(Boolean);
    const matching = units.filter((u) => (!choice.state || u.state === choice.state)
      && (words.length === 0 || words.every((w) => `${u.namespace}/${u.pod}/${u.container} ${u.state} ${u.reason}`.toLowerCase().includes(w))));
    const column = COLUMNS.find((c) => c.key === choice.sort);
    let sorted = order(matching, column, choice.down);
    if (!anew && isHeld()) {
      const at = new Map([...body.children].map((row, i) => [row.unitId, i]));
      sorted = sorted.map((u, i) => [at.get(u.id) ?? at.size + i, u]).sort(([a], [b]) => a - b).map(([, u]) => u);
    }
    place(sorted.slice(0, choice.limit));
    const rest = matching.length - choice.limit;
    more.hidden = rest <= 0;
    if (rest > 0) say(more, `Show ${count(Math.min(200, rest))} more`);
    say(said, units.length === 0 ? 'No containers yet.' : matching.length === 0 ? 'No container matches.'
      : rest > 0 ? `${count(choice.limit)} of ${count(matching.length)} containers` : plural(matching.length, 'container', 'containers'));
  }

  /** Makes the table's rows those of `shown`, in that order. */
  function place(shown) {
    const kept = new Set(shown.map((u) => u.id));
    for (const [id, row] of rows) {
      if (!kept.has(id)) {
        row.node.remove();
        rows.delete(id);
      }
    }
    const focused = document.activeElement;
    let next = body.firstChild;
    for (const u of shown) {
      if (!rows.has(u.id)) rows.set(u.id, unitRow(u));
      const row = rows.get(u.id);
      row.update(u);
      if (row.node === next) next = next.nextSibling;
      else body.insertBefore(row.node, next);
    }
    if (focused !== document.activeElement && body.contains(focused)) focused.focus({ preventScroll: true });
  }

  function show(newUnits) {
    units = newUnits;
    table.classList.toggle('levels', units.some((u) => u.levels));
    draw(false);
  }

  function showStatus(status) {
    for (const [state, chip] of status.units ? chips : []) {
      say(chip, `${count(status.units[state])} ${state}`);
      chip.hidden = !status.units[state] && choice.state !== state;
    }
  }
  return { node, show, showStatus, wanted: () => visibleNow, close: () => seen.disconnect() };
}

/** One row. The pod's name leads to the container's page; on a narrow screen it also tells namespace and container. */
function unitRow(unit) {
  const mark = stateMark(unit.state);
  const reason = h('small', { class: 'reason' });
  const cells = COLUMNS.map((column) => {
    const cell = h('td', { class: `c-${column.key}${column.number ? ' number' : ''}` });
    if (column.key === 'state') cell.append(mark);
    else if (column.key === 'pod') {
      cell.append(h('a', { href: `#/unit/${encodeURIComponent(unit.id)}` }, h('bdi', { name: unit.pod })),
        h('small', { class: 'narrow', name: `${unit.namespace} / ${unit.container}` }), reason);
    } else if (!column.number) cell.append(h('bdi', { name: unit[column.key] }));
    return cell;
  });
  const node = h('tr', null, ...cells);
  node.unitId = unit.id;
  let errors = errorsOf(unit);
  let alarmUntil = 0;
  function update(u) {
    if (errorsOf(u) > errors) alarmUntil = Date.now() + ALARM;
    errors = errorsOf(u);
    mark.className = `state ${STATES.includes(u.state) ? u.state : 'gone'}`;
    say(mark, u.state);
    say(reason, u.reason || '');
    COLUMNS.forEach((column, i) => {
      if (!column.number) return;
      say(cells[i], column.text(u));
      cells[i].classList.toggle('zero', !column.by(u));
      cells[i].classList.toggle('alarm', column.key === 'errors' && Date.now() < alarmUntil);
    });
  }
  return { node, update };
}
