/** The rooms of the person: the list of them, and how to get into one. */
export { AddressDialog } from './address-dialog'
export { JoinForm } from './join-form'
export { Palette } from './palette'
export { Sidebar } from './sidebar'
