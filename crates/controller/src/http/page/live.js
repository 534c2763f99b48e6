// Renews a page in place: as things change where it follows streams of events, and every so often. Where something is
// under way of which no event tells, such as a round through the registries, the page says how often to look (data-every).
//
// Without this script pages load themselves anew (layout.rs). What somebody is about to do is not taken away: a part of the
// page in which a question is open, a field was written in or text is marked stays as it is until that is over.
'use strict';

(() => {
  // Least time between two looks, and how often is looked where nothing tells of changes.
  const QUIET_MS = 500;
  const EVERY_MS = 30000;
  const EVENTS = ['command', 'container', 'update', 'history', 'rollout', 'freeze', 'missed'];

  const main = document.querySelector('main');
  let streams = [];
  let timer = 0;
  let earliest = 0;
  let isLooking = false;
  let isAskedAgain = false;
  let isStale = false;

  // What a part of the page is told apart by: its own name or its heading, and which one of those it is.
  function named(parts) {
    const seen = new Map();
    return [...parts].map((part) => {
      const name = part.id || part.querySelector('h1, h2')?.textContent || part.className;
      seen.set(name, (seen.get(name) ?? 0) + 1);
      return [`${name} ${seen.get(name)}`, part];
    });
  }

  function isWrittenIn(field) {
    if (field.matches('select')) {
      const first = [...field.options].findIndex((option) => option.defaultSelected);
      return field.selectedIndex !== Math.max(0, first);
    }
    return field.value !== field.defaultValue || Boolean(field.checked) !== Boolean(field.defaultChecked);
  }

  function isBusy(part) {
    const marked = getSelection();
    const fields = [...part.querySelectorAll('input, select, textarea')];
    return part.contains(document.activeElement)
      || (!marked.isCollapsed && part.contains(marked.anchorNode))
      || part.querySelector('details.sure[open]') !== null
      || fields.some(isWrittenIn);
  }

  // What was opened, closed or scrolled by hand stays so.
  function keep(old, fresh) {
    const title = (details) => details.querySelector('summary')?.textContent;
    const open = new Map([...old.querySelectorAll('details')].map((details) => [title(details), details.open]));
    for (const details of fresh.querySelectorAll('details')) {
      details.open = open.get(title(details)) ?? details.open;
    }
    const places = [...old.querySelectorAll('.scroll, pre')].map((box) => [box.scrollLeft, box.scrollTop]);
    return () => [...old.querySelectorAll('.scroll, pre')].forEach((box, place) => {
      [box.scrollLeft, box.scrollTop] = places[place] ?? [0, 0];
    });
  }

  function renew(old, fresh) {
    const settle = keep(old, fresh);
    if (old.isEqualNode(fresh)) return;
    for (const { name, value } of fresh.attributes) old.setAttribute(name, value);
    old.replaceChildren(...fresh.childNodes);
    settle();
  }

  function put(fresh) {
    const known = new Map(named(main.children));
    let last = null;
    for (const [name, part] of named(fresh.children)) {
      const old = known.get(name);
      known.delete(name);
      if (!old) {
        if (last) last.after(part); else main.prepend(part);
      } else if (!isBusy(old)) {
        renew(old, part);
      }
      last = old ?? part;
    }
    for (const gone of known.values()) if (!isBusy(gone)) gone.remove();
    main.dataset.every = fresh.dataset.every ?? '';
  }

  // Says whether what is shown may be old, and how it is renewed.
  function say() {
    const isLive = streams.length > 0 && streams.every((stream) => stream.readyState === EventSource.OPEN);
    document.querySelector('.stale').hidden = !isStale;
    for (const note of document.querySelectorAll('footer .live')) note.hidden = isStale || !isLive;
    // What is written there is for who has no script; a page that follows events is looked at by our own measure.
    for (const note of document.querySelectorAll('footer .every')) note.hidden = streams.length > 0;
  }

  function askIn(ms) {
    clearTimeout(timer);
    timer = setTimeout(look, ms);
  }

  // Asks for the page again, at once or as soon as it may be asked for.
  function ask() {
    if (isLooking) isAskedAgain = true;
    else askIn(Math.max(0, earliest - performance.now()));
  }

  async function look() {
    if (document.hidden) return;
    isLooking = true;
    const begun = performance.now();
    isStale = true;
    try {
      const answer = await fetch(location.href, { headers: { accept: 'text/html' } });
      if (answer.redirected) {
        location.assign(answer.url);
        return;
      }
      if (answer.ok) {
        const fresh = new DOMParser().parseFromString(await answer.text(), 'text/html');
        document.title = fresh.title;
        put(fresh.querySelector('main'));
        isStale = false;
      }
    } catch {
      // It is said on the page.
    }
    say();
    isLooking = false;
    // A controller that takes long to answer is asked less often.
    const now = performance.now();
    earliest = now + Math.max(QUIET_MS, now - begun);
    if (isAskedAgain) {
      isAskedAgain = false;
      ask();
    } else {
      const every = isStale ? EVERY_MS : 1000 * Number(main.dataset.every) || EVERY_MS;
      askIn(Math.max(every, earliest - now));
    }
  }

  // Whether an event is about what the page shows.
  function concerns(kind, text) {
    const { container, server } = main.dataset;
    if (!container || kind === 'missed' || kind === 'freeze') return true;
    try {
      const told = JSON.parse(text);
      if (kind === 'command') return String(told.server_id) === server;
      return String(kind === 'container' ? told.id : told.container_id) === container;
    } catch {
      return true;
    }
  }

  // A browser has few connections to a host, so that only a page that is looked at holds any.
  function listen() {
    for (const stream of streams) stream.close();
    const paths = document.hidden ? [] : (main.dataset.follow ?? '').split(' ').filter(Boolean);
    streams = paths.map((path) => {
      const stream = new EventSource(path);
      for (const kind of EVENTS) {
        stream.addEventListener(kind, (event) => { if (concerns(kind, event.data)) ask(); });
      }
      // Whatever changed before it was open is not told.
      stream.onopen = ask;
      stream.onerror = () => {
        ask();
        if (stream.readyState === EventSource.CLOSED) setTimeout(() => { if (streams.includes(stream)) listen(); }, EVERY_MS);
      };
      return stream;
    });
  }

  document.addEventListener('visibilitychange', () => {
    listen();
    if (!document.hidden) ask();
  });
  listen();
  askIn(1000 * Number(main.dataset.every) || EVERY_MS);
})();
