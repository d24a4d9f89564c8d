// A small line chart: one or two series over the last 15 minutes, the newest value in large, and a read-out under the pointer
// or, with the keyboard, by the arrow keys. Points that the program did not measure are gaps.

const SLOTS = 90;
const HEIGHT = 40;

/** `series`: [{name, class}]; `format` makes text of a value; `inBytes`: the scale's steps are those of KiB and MiB. */
function chart(title, format, series, inBytes) {
  const value = h('p', { class: 'value' });
  const top = h('span', { class: 'scale' });
  const cursor = h('div', { class: 'cursor', hidden: true });
  const area = svg('path', { class: `area ${series[0].class}` });
  const lines = series.map((s) => svg('path', { class: `line ${s.class}` }));
  const drawing = svg('svg', { viewBox: `0 0 ${SLOTS - 1} ${HEIGHT}`, preserveAspectRatio: 'none', 'aria-hidden': 'true' },
    svg('path', { class: 'grid', d: `M0 ${HEIGHT / 2}H${SLOTS - 1}M0 0.5H${SLOTS - 1}` }), area, ...lines);
  const plot = h('div', { class: 'plot', tabindex: '0', role: 'img' }, top, drawing, cursor);
  const axis = h('p', { class: 'axis', 'aria-hidden': 'true' }, h('span', { text: '15 min ago' }), h('span', { text: 'now' }));
  const readout = h('p', { class: 'readout', 'aria-live': 'polite' });
  const names = series.length > 1
    ? h('p', { class: 'names' }, ...series.map((s) => h('span', { class: s.class, text: s.name }))) : null;
  const node = h('section', { class: 'card chart' },
    h('div', { class: 'head' }, h('h3', { text: title }), names), value, plot, axis, readout);

  let points = series.map(() => []);
  let history = null;
  let at = null;

  function point(slot) {
    if (slot === null || !history) {
      at = null;
      cursor.hidden = true;
      readout.classList.remove('shown');
      return;
    }
    at = Math.max(0, Math.min(SLOTS - 1, slot));
    cursor.hidden = false;
    cursor.style.left = `${(at / (SLOTS - 1)) * 100}%`;
    const when = clock(history.end - (SLOTS - 1 - at) * history.step_ms);
    const said = points.map((p, i) => `${series.length > 1 ? `${series[i].name} ` : ''}${format(p[at])}`);
    say(readout, `${when}  ${said.join(' · ')}`);
    readout.classList.add('shown');
  }

  plot.addEventListener('pointermove', (event) => {
    const box = plot.getBoundingClientRect();
    point(Math.round(((event.clientX - box.left) / box.width) * (SLOTS - 1)));
  });
  plot.addEventListener('pointerleave', () => point(null));
  plot.addEventListener('blur', () => point(null));
  plot.addEventListener('keydown', (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (step) point((at ?? SLOTS) + step);
    else if (event.key === 'Home') point(0);
    else if (event.key === 'End') point(SLOTS - 1);
    else if (event.key === 'Escape') point(null);
    else return;
    event.preventDefault();
  });

  /** `values`: for each series the numbers, oldest first; `now`: the newest value as text. */
  function update(newHistory, values, now) {
    history = newHistory;
    points = values.map((v) => {
      const last = (v || []).slice(-SLOTS);
      return [...Array(SLOTS - last.length).fill(null), ...last];
    });
    const known = points.flat().filter((x) => x !== null);
    const most = nice(Math.max(0, ...known), inBytes);
    say(value, now);
    say(top, known.length ? format(most) : '');
    lines.forEach((line, i) => attribute(line, 'd', path(points[i], most, false)));
    attribute(area, 'd', path(points[0], most, true));
    plot.setAttribute('aria-label', `${title}, now ${now}; at most ${format(Math.max(0, ...known))} in the last 15 minutes. Arrow keys read the values.`);
    if (at !== null) point(at);
  }
  return { node, update };
}

/** The end of the scale: a round number that is at least `most`; of bytes, a round number of their unit. */
function nice(most, inBytes) {
  if (most <= 0) return 1;
  const unit = inBytes ? 1024 ** Math.floor(Math.log(most) / Math.log(1024)) : 1;
  const power = 10 ** Math.floor(Math.log10(most / unit));
  return [1, 1.2, 1.5, 2, 2.5, 3, 4, 5, 6, 8, 10].map((n) => n * power * unit).find((n) => n >= most) ?? most;
}

/** A path through the points; where one is missing it begins anew. */
function path(points, most, closed) {
  let d = '';
  let start = null;
  for (let i = 0; i <= points.length; i += 1) {
    const v = points[i];
    if (v === null || v === undefined) {
      if (closed && start !== null) d += `L${i - 1} ${HEIGHT}L${start} ${HEIGHT}Z`;
      start = null;
    } else {
      const y = (HEIGHT - (v / most) * (HEIGHT - 1)).toFixed(2);
      d += `${start === null ? 'M' : 'L'}${i} ${y}`;
      if (start === null) start = i;
    }
  }
  return d;
}
