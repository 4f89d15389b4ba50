/** The rooms of the person: the list of them, and how to get into one. */
import { lazyComponent } from '@/state/lazy-component'

export { JoinForm } from './join-form'
export { Sidebar } from './sidebar'
export const AddressDialog = lazyComponent(async () => (await import('./address-dialog')).AddressDialog)
export const Palette = lazyComponent(async () => (await import('./palette')).Palette)
