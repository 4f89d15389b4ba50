import { expect, test, vi } from 'vitest'
import { Emitter } from './emitter.ts'

test('a listener hears its events until it is taken away', () => {
  const emitter = new Emitter<{ said: string; done: number }>()
  const heard: string[] = []
  const off = emitter.on('said', (word) => heard.push(word))
  emitter.emit('said', 'one')
  emitter.emit('done', 1)
  off()
  emitter.emit('said', 'two')
  expect(heard).toEqual(['one'])
})

test('a listener that throws harms no other, and its error is not lost', () => {
  const emitter = new Emitter<{ said: string }>()
  const late = vi.spyOn(globalThis, 'queueMicrotask').mockImplementation(() => {})
  const listener = vi.fn<(word: string) => void>()
  emitter.on('said', () => {
    throw new Error('broken')
  })
  emitter.on('said', listener)
  emitter.emit('said', 'one')
  expect(listener).toHaveBeenCalledWith('one')
  expect(() => late.mock.calls[0]?.[0]()).toThrow('broken')
})
