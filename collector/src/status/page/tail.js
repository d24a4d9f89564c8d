// Live tail: lines as they are read or as they are sent, by server-sent events. What is drawn is bounded, and so is what
// comes while it is paused; both say what they left out.

const LINES_KEPT = 1000;
const RETRY_AFTER = 2000;

/** `query`: which lines; `named`: lines also tell their container. Gives {node, close}. */
function liveTail(page, query, named) {
  let control = null;
  let retry = null;
  let paused = false;
  let follows = true;
  let waiting = [];
  let drawing = null;
  let came = 0;
  let dropped = 0;
  let forgotten = 0;
  let typing = null;

  const lines = h('div', { class: 'lines', role: 'log', tabindex: '0', 'aria-label': 'Lines', 'aria-live': 'off' });
  const said = h('p', { class: 'said', role: 'status' });
  const newest = h('button', { type: 'button', class: 'newest', hidden: true, text: '↓ Newest', on: { click: () => { follows = true; scroll(); } } });
  const pause = h('button', { type: 'button', text: 'Pause', 'aria-pressed': 'false', on: { click: () => setPaused(!paused) } });
  const grep = h('input', { type: 'search', placeholder: 'grep: a regular expression', 'aria-label': 'Only lines that match this regular expression', spellcheck: 'false', autocomplete: 'off', on: { input: () => later(start) } });
  const mode = h('select', { 'aria-label': 'Which form of the lines', on: { change: start } },
    h('option', { value: 'processed', text: 'as they are sent' }), h('option', { value: 'raw', text: 'as they are read' }));
  const withLabels = h('input', { type: 'checkbox', on: { change: () => lines.classList.toggle('withlabels', withLabels.checked) } });
  const wrap = h('input', { type: 'checkbox', on: { change: () => lines.classList.toggle('wrap', wrap.checked) } });
  const clear = h('button', { type: 'button', text: 'Clear', on: { click: () => { lines.replaceChildren(); waiting = []; tell(); } } });
  const node = h('section', { class: 'card tail' },
    h('div', { class: 'tools' }, h('h2', { text: 'Live tail' }), pause, mode, grep,
      h('label', null, withLabels, ' Labels'), h('label', null, wrap, ' Wrap'), clear),
    h('div', { class: 'frame' }, lines, newest), said);

  lines.addEventListener('scroll', () => {
    follows = lines.scrollHeight - lines.scrollTop - lines.clientHeight < 30;
    newest.hidden = follows;
  });

  function later(act) {
    clearTimeout(typing);
    typing = setTimeout(act, 400);
  }

  function setPaused(now) {
    paused = now;
    say(pause, paused ? 'Resume' : 'Pause');
    attribute(pause, 'aria-pressed', String(paused));
    if (!paused) draw();
    tell();
  }

  let state = '';
  function tell(text) {
    if (text !== undefined) state = text;
    const parts = [state, came ? plural(came, 'line', 'lines') : null,
      paused && waiting.length ? `${count(waiting.length)} wait for Resume` : null,
      forgotten ? `${count(forgotten)} came while paused and were not kept` : null,
      dropped ? `${count(dropped)} left out, as they came too fast` : null];
    say(said, parts.filter(Boolean).join(' · '));
  }

  /** Begins to listen, anew if it did. */
  async function start() {
    stop();
    const mine = new AbortController();
    control = mine;
    const ask = new URLSearchParams(query);
    ask.set('mode', mode.value);
    if (grep.value) ask.set('grep', grep.value);
    tell('Connecting…');
    try {
      const answer = await fetch(`api/v1/tail?${ask}`, { signal: mine.signal, headers: { Accept: 'text/event-stream' } });
      if (!answer.ok) {
        const why = (await answer.text()).slice(0, 500);
        tell(answer.status === 403 ? `Not shown here: ${why || 'live tail is only for connections from the node itself.'}` : `Pilcrow answers ${answer.status}: ${why}`);
        if (answer.status === 503) retry = setTimeout(start, RETRY_AFTER); // busy, or too many viewers
        return;
      }
      tell('Waiting for lines');
      await listen(answer.body.getReader());
      if (mine.signal.aborted) return;
      again();
    } catch (error) {
      if (!mine.signal.aborted) again();
    }
  }

  function again() {
    tell('The connection ended; trying again');
    retry = setTimeout(start, RETRY_AFTER);
  }

  function stop() {
    clearTimeout(retry);
    if (control) control.abort();
    control = null;
  }

  /** Reads events until the answer ends. */
  async function listen(reader) {
    const decoder = new TextDecoder();
    let rest = '';
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      rest += decoder.decode(value, { stream: true });
      const events = rest.split('\n\n');
      rest = events.pop();
      for (const event of events) take(event);
    }
  }

  function take(event) {
    let name = 'message';
    const data = [];
    for (const line of event.split('\n')) {
      if (line.startsWith('event:')) name = line.slice(6).trim();
      else if (line.startsWith('data:')) data.push(line.slice(5));
    }
    if (data.length === 0) return;
    let value;
    try {
      value = JSON.parse(data.join('\n'));
    } catch (error) {
      return; // cut off by the end of the connection
    }
    if (name === 'dropped') dropped += value.lines;
    if (name !== 'line') return tell();
    came += 1;
    waiting.push(value);
    if (waiting.length > LINES_KEPT) {
      waiting.shift();
      if (paused) forgotten += 1;
    }
    if (!paused && drawing === null) drawing = setTimeout(draw, 100);
    if (paused && drawing === null) drawing = setTimeout(() => { drawing = null; tell(); }, 250);
  }

  /** Draws what came, and removes the oldest. */
  function draw() {
    clearTimeout(drawing);
    drawing = null;
    if (paused) return;
    lines.append(...waiting.map((line) => lineOf(line, named)));
    waiting = [];
    while (lines.childElementCount > LINES_KEPT) lines.firstChild.remove();
    tell('Following');
    if (follows) scroll();
  }

  function scroll() {
    lines.scrollTop = lines.scrollHeight;
  }

  if (page.mayTail() === false) {
    tell('Live tail is only for connections from the node itself, as logs hold secrets. Use kubectl port-forward to this pod, or pilcrow tail in it; http.tail: true allows it for all.');
    for (const part of [pause, mode, grep, withLabels, wrap, clear]) part.disabled = true;
  } else {
    start();
  }
  return { node, close: stop };
}

function lineOf(line, named) {
  const metadata = Object.entries(line.metadata || {}).map(([k, v]) => `${k}=${JSON.stringify(v)}`).join(' ');
  return h('div', { class: line.stream === 'stderr' ? 'entry stderr' : 'entry' },
    h('time', { text: clockOfNanoseconds(line.time_ns) }), ' ',
    named ? h('a', { href: `#/unit/${encodeURIComponent(line.unit)}`, name: `${line.namespace}/${line.pod}/${line.container}` }) : null, named ? ' ' : null,
    line.stream === 'stderr' ? h('span', { class: 'unseen', text: 'stderr ' }) : null,
    h('bdi', { class: 'words', text: line.text }),
    line.labels || metadata ? h('small', { class: 'of', text: [line.labels, metadata].filter(Boolean).join('  ') }) : null);
}

/** The page that tails every container of the node. */
function tailPage(page) {
  const title = h('h1', { tabindex: '-1', text: 'Live tail of this node' });
  const tail = liveTail(page, new URLSearchParams(), true);
  return { node: h('div', { class: 'unit' }, title, tail.node), show: () => {}, focus: () => title.focus(), close: tail.close };
}
