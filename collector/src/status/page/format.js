// Numbers, sizes and times as people read them. Times are those of the program's clock, never of the browser's.

const grouped = new Intl.NumberFormat('en', { maximumFractionDigits: 0 });

function count(n) {
  return n === null || n === undefined ? '–' : grouped.format(n);
}

/** Three significant digits below a thousand, then groups. */
function rate(x) {
  if (x === null || x === undefined) return '–';
  if (x === 0) return '0';
  if (x < 0.05) return '<0.1';
  return x < 100 ? String(Number(x.toFixed(1))) : grouped.format(x);
}

function bytes(n) {
  if (n === null || n === undefined) return '–';
  let value = n;
  let unit = 0;
  const units = ['B', 'KiB', 'MiB', 'GiB', 'TiB'];
  while (value >= 1023.5 && unit < units.length - 1) {
    value /= 1024;
    unit += 1;
  }
  return `${unit === 0 || value >= 99.95 ? grouped.format(value) : Number(value.toFixed(1))} ${units[unit]}`;
}

function percent(x) {
  if (x === null || x === undefined) return '–';
  return `${x < 9.995 ? Number(x.toFixed(2)) : Number(x.toFixed(1))}%`;
}

/** Two units at most: `3 d 4 h`, `4 min 12 s`, `12 s`. */
function duration(ms) {
  if (ms === null || ms === undefined) return '–';
  const s = Math.max(0, Math.floor(ms / 1000));
  if (s < 60) return `${s} s`;
  if (s < 3600) return `${Math.floor(s / 60)} min ${s % 60} s`;
  if (s < 86400) return `${Math.floor(s / 3600)} h ${Math.floor((s % 3600) / 60)} min`;
  return `${Math.floor(s / 86400)} d ${Math.floor((s % 86400) / 3600)} h`;
}

/** How long ago, in words. */
function ago(then, now) {
  if (then === null || then === undefined) return 'never';
  return now - then < 1000 ? 'just now' : `${duration(now - then)} ago`;
}

/** A time of day of this browser's zone, with the date where it is not today's. */
function clock(ms, now) {
  const time = new Date(ms);
  const said = time.toLocaleTimeString('en-GB');
  return now !== undefined && new Date(now).toDateString() !== time.toDateString()
    ? `${time.toLocaleDateString('en-CA')} ${said}` : said;
}

/** `14:03:11.042` of nanoseconds as text, which a number cannot hold. */
function clockOfNanoseconds(ns) {
  const ms = Number(String(ns).slice(0, -6));
  return `${new Date(ms).toLocaleTimeString('en-GB')}.${String(ms % 1000).padStart(3, '0')}`;
}

function plural(n, one, many) {
  return `${count(n)} ${n === 1 ? one : many}`;
}
