/** How a person comes in. */
export { Welcome } from './welcome'
