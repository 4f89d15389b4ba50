import { lazy, useEffect, type ComponentType } from 'react'
import { useChat } from './chat'

/**
 * A component that is loaded when it is first shown. Where that fails, because there is no network or the server has a
 * newer app by now, the person is told so and the rest of the page goes on.
 */
export function lazyComponent<Props extends { onClose?: () => void }>(load: () => Promise<ComponentType<Props>>) {
  return lazy(async () => {
    try {
      return { default: await load() }
    } catch {
      return { default: Missing as ComponentType<Props> }
    }
  })
}

function Missing({ onClose }: { onClose?: () => void }) {
  const { client } = useChat()
  useEffect(() => {
    client.report('This part of the page could not be loaded. Reload the page and try again.')
    onClose?.()
  }, [client, onClose])
  return null
}
