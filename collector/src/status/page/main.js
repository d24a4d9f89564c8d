// What is asked of the program and when, which page is shown, and the head of all pages. Nothing is asked while the page
// cannot be seen; what is slow to answer is asked more seldom.

const STEP = 1000;
const WINDOW = 5000; // live figures are means over this time

const app = {
  status: null,
  off: null, // since when nobody answers
  said: '', // what was answered instead
  recent: [],
  shown: null,
  route: '',
  nextUnits: 0,
  choice: { filter: '', state: null, sort: 'state', down: false, limit: SHOWN_AT_FIRST },
  scrolled: 0,
  timer: null,
  asking: false,
  askAgain: false,
};

/** Rates between the oldest and the newest status that is kept. */
app.live = () => {
  const first = app.recent[0];
  const last = app.recent[app.recent.length - 1];
  const seconds = last ? (last.now - first.now) / 1000 : 0;
  if (seconds <= 0) {
    const newest = (values) => values?.[values.length - 1] ?? null;
    const { history } = app.status;
    return { lines: newest(history.lines_read), bytes: newest(history.bytes_read), cpu: newest(history.cpu_percent) };
  }
  const per = (key) => Math.max(0, last.totals[key] - first.totals[key]) / seconds;
  return { lines: per('lines_read'), bytes: per('bytes_read'), cpu: per('cpu_seconds') * 100 };
};
app.mayTail = () => (app.status ? app.status.tail : null);

async function json(address) {
  const answer = await fetch(address, { cache: 'no-store', signal: AbortSignal.timeout(10000) });
  if (!answer.ok) throw Object.assign(new Error((await answer.text()).slice(0, 500)), { status: answer.status });
  return answer.json();
}

/** One round: the status, and what the page that is shown needs. */
async function round() {
  if (document.hidden) return;
  if (app.asking) {
    app.askAgain = true;
    return;
  }
  app.asking = true;
  app.askAgain = false;
  const [page, route] = [app.shown, app.route];
  try {
    const status = await json('api/v1/status');
    if (app.status && status.started !== app.status.started) app.recent = [];
    app.status = status;
    app.recent.push({ now: status.now, totals: status.totals });
    while (app.recent.length > 2 && status.now - app.recent[0].now > WINDOW) app.recent.shift();
    app.off = null;
    app.said = '';
  } catch (error) {
    app.off ??= Date.now();
    app.said = error.status ? `${error.status}: ${error.message}` : '';
  }
  try {
    if (!app.off && page === app.shown) await more(page, route);
  } catch (error) {
    // The reader is busy; what is shown stays until the next round.
  }
  app.asking = false;
  draw();
  clearTimeout(app.timer);
  app.timer = setTimeout(round, app.askAgain ? 0 : STEP);
}

/** What this page needs besides the status. */
async function more(page, route) {
  if (page.showUnits && page.unitsWanted() && Date.now() >= app.nextUnits) {
    const { units } = await json('api/v1/units');
    // 2,000 containers each second; of more, the same part.
    app.nextUnits = Date.now() + Math.max(0, Math.ceil(units.length / 2000) - 1) * STEP;
    if (page === app.shown) page.showUnits(units);
  }
  if (route.startsWith('unit/') && page.missing) {
    try {
      const unit = await json(`api/v1/units/${encodeURIComponent(decode(route.slice(5)))}`);
      if (page === app.shown) page.show(unit);
    } catch (error) {
      if (error.status !== 404) throw error;
      if (page === app.shown) page.missing();
    }
  }
}

function draw() {
  const { status, off } = app;
  const said = verdict(status, off, app.said);
  document.title = `${said.level === 'good' ? '' : `${said.title} · `}Pilcrow${status?.node ? ` on ${status.node}` : ''}`;
  say(who, status ? `${status.node ? `${status.node} · ` : ''}${status.version}` : '');
  whenChanged(warning, app.route && said.level === 'bad' ? said.title : '', () =>
    (app.route && said.level === 'bad' ? [h('a', { href: '#/', text: `${said.title}: see the overview` })] : []));
  if (app.shown.showUnits) app.shown.show(status, off, app.said);
}

const view = document.getElementById('view');
const who = document.getElementById('who');
const warning = h('div', { class: 'warning', role: 'status' });

/** Shows the page that the address names: #/, #/tail or #/unit/ID. */
function go() {
  const route = location.hash.replace(/^#\/?/, '');
  if (app.shown && location.hash === '#view') return; // the link that skips the head
  const first = app.shown === null;
  if (!first) {
    if (app.shown.showUnits) app.scrolled = scrollY;
    app.shown.close();
  }
  app.route = route;
  app.nextUnits = 0;
  if (route.startsWith('unit/')) app.shown = unitPage(app, decode(route.slice(5)));
  else if (route === 'tail') app.shown = tailPage(app);
  else {
    app.route = '';
    app.shown = overview(app);
  }
  attribute(document.getElementById('to-overview'), 'aria-current', app.route === '' ? 'page' : null);
  attribute(document.getElementById('to-tail'), 'aria-current', app.route === 'tail' ? 'page' : null);
  view.replaceChildren(warning, app.shown.node);
  draw();
  if (!first) {
    app.shown.focus();
    scrollTo(0, 0);
  }
  round();
}

/** What was escaped for the address; as it is where it cannot be. */
function decode(text) {
  try {
    return decodeURIComponent(text);
  } catch (error) {
    return text;
  }
}

const THEMES = ['auto', 'light', 'dark'];
const theme = document.getElementById('theme');
let chosen = 0;
function setTheme(next) {
  chosen = next % THEMES.length;
  document.documentElement.dataset.theme = THEMES[chosen];
  say(theme, { auto: '◐ Auto', light: '○ Light', dark: '● Dark' }[THEMES[chosen]]);
  attribute(theme, 'aria-label', `Colours: ${THEMES[chosen]}. Change to ${THEMES[(chosen + 1) % THEMES.length]}.`);
}
theme.addEventListener('click', () => setTheme(chosen + 1));
setTheme(0);

addEventListener('hashchange', go);
document.addEventListener('visibilitychange', () => { if (!document.hidden) round(); });
addEventListener('keydown', (event) => {
  const field = document.getElementById('filter');
  if (event.key !== '/' || event.ctrlKey || event.metaKey || event.altKey || !field || event.target.closest('input, select, textarea')) return;
  event.preventDefault();
  field.focus();
});
go();
