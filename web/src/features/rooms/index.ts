/** The rooms of the person: the list of them, and how to get into one. */
import { lazily } from '@/state/lazily'

export { JoinForm } from './join-form'
export { Sidebar } from './sidebar'
export const AddressDialog = lazily(async () => (await import('./address-dialog')).AddressDialog)
export const Palette = lazily(async () => (await import('./palette')).Palette)
