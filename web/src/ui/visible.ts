const VISIBLE = /[^\p{C}\p{Z}\p{M}\u034f\u115f\u1160\u2800\u3164\uffa0\u{1d159}]/u

/** Whether any character of a text leaves a mark on the screen. */
export function isVisible(text: string): boolean {
  return VISIBLE.test(text)
}

/** The name to show for a person, whose own name may be invisible. */
export function shownName(name: string): string {
  return isVisible(name) ? name : 'Someone'
}
