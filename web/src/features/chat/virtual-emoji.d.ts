declare module 'virtual:emoji' {
  const groups: [name: string, emojis: [emoji: string, name: string, version: number, words: string[]][]][]
  export default groups
}
