// Building and updating elements. Text goes in as text only: nothing here or elsewhere parses markup, so what a pod is called
// or writes cannot become an element.

/** An element. `props`: `class`, `text`, `name` (a text that has one line), `on: {event: function}`, else attributes; null leaves one out. */
function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
function svg(tag, props, ...children) {
  return fill(document.createElementNS('http://www.w3.org/2000/svg', tag), props, children);
}

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props || {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === 'on') {
      for (const [event, act] of Object.entries(value)) node.addEventListener(event, act);
    } else if (name === 'text') {
      node.textContent = visible(value);
    } else if (name === 'name') {
      node.textContent = visibleName(value);
    } else {
      node.setAttribute(name, value === true ? '' : value);
    }
  }
  node.append(...children.filter((child) => child !== null && child !== undefined));
  return node;
}

/** Sets an element's text, and touches the document only where it changed. */
function say(node, text) {
  const shown = visible(text);
  if (node.textContent !== shown) node.textContent = shown;
}

/** Sets or removes an attribute, where it changed. */
function attribute(node, name, value) {
  if (value === null) {
    if (node.hasAttribute(name)) node.removeAttribute(name);
  } else if (node.getAttribute(name) !== String(value)) {
    node.setAttribute(name, value);
  }
}

/** Replaces the children of `node` where `key` differs from that of the last time. */
function whenChanged(node, key, make) {
  if (node.shownKey === key) return;
  node.shownKey = key;
  node.replaceChildren(...make().filter(Boolean));
}

// The characters that admin/terminal.rs hides, but for tab and newline.
const HIDDEN = /[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u00ad\u061c\u180e\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\u{e0000}-\u{e007f}]/gu;

/** What cannot be seen, and what would turn the direction of the text beside it, as visible characters. */
function visible(text) {
  return String(text).replace(HIDDEN, (c) => {
    const code = c.codePointAt(0).toString(16);
    return code.length <= 2 ? `\\x${code.padStart(2, '0')}` : `‹U+${code.toUpperCase()}›`;
  });
}

/** The same for a name, which is told from others by its white space, too. */
function visibleName(text) {
  return visible(text).replace(/[\t\n]/g, (c) => (c === '\n' ? '\\x0a' : '\\x09'));
}

/** Rows of a description list: [term, value, note]; a value that is null is shown as a dash. */
function facts(rows) {
  return rows.filter(Boolean).map(([term, value, note]) =>
    h('div', null, h('dt', { text: term }), h('dd', null, value instanceof Node ? value : h('bdi', { text: value ?? '–' }),
      note ? h('small', { text: note }) : null)));
}
