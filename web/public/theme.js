// Runs before the first paint, so that the page never shows the wrong theme.
{
  let theme = 'system'
  try {
    theme = JSON.parse(localStorage.getItem('hubbub.theme')) ?? theme
  } catch {
    // the browser keeps nothing for this page
  }
  const isDark = theme === 'dark' || (theme === 'system' && matchMedia('(prefers-color-scheme: dark)').matches)
  document.documentElement.classList.toggle('dark', isDark)
}
