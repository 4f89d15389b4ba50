/** How many are connected, and who wrote lately. */
export { LiveCount } from './live-count'
export { People } from './people'
