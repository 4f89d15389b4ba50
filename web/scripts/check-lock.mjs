// Refuses a lock file with which `npm ci` fails on another platform, or which names the host it was made from.
// A bad lock is not repaired by `npm install`: remove node_modules and package-lock.json, then install anew.
import { readFileSync } from 'node:fs'

function* faults(packages) {
  const names = new Set(Object.keys(packages).map((path) => path.split('node_modules/').at(-1)))
  for (const [path, entry] of Object.entries(packages)) {
    if (path && !entry.link && !(entry.version && entry.integrity)) yield `${path} lacks version or integrity`
    if (entry.resolved) yield `${path} records a download address`
    for (const name of Object.keys(entry.optionalDependencies ?? {})) {
      if (!names.has(name)) yield `${path} lacks its optional dependency ${name}`
    }
  }
}

const files = process.argv.length > 2 ? process.argv.slice(2) : ['package-lock.json']
for (const file of files) {
  for (const fault of faults(JSON.parse(readFileSync(file, 'utf8')).packages)) {
    console.error(`${file}: ${fault}`)
    process.exitCode = 1
  }
}
