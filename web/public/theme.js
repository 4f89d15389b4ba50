// Runs before the first paint, so that the page never shows the wrong theme.
{
  let theme = 'system'
  try {
    const home = location.pathname.replace(/[^/]*$/, '')
    theme = JSON.parse(localStorage.getItem(`hubbub${home === '/' ? '' : home}.theme`)) ?? theme
  } catch {
    // the browser keeps nothing for this page
  }
  const isDark = theme === 'dark' || (theme === 'system' && matchMedia('(prefers-color-scheme: dark)').matches)
  document.documentElement.classList.toggle('dark', isDark)
}
