// Before anything is drawn: the colours and the language that were chosen, so that nothing has to change its look.
(() => {
  const root = document.documentElement;
  let chosen = {};
  try {
    chosen = JSON.parse(localStorage.getItem('tidings.settings')) ?? {};
  } catch {
    // Nothing is kept, or it cannot be read.
  }
  if (chosen.theme === 'light' || chosen.theme === 'dark') root.dataset.theme = chosen.theme;
  const wanted = chosen.language ?? navigator.language ?? 'en';
  root.lang = /^ru\b/i.test(wanted) ? 'ru' : 'en';
})();
