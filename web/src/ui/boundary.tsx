import { Component, type ReactNode } from 'react'

type BoundaryProps = { fallback: ReactNode; children: ReactNode }

/** Shows something else in the place of what cannot be shown. The page around it goes on. */
export class Boundary extends Component<BoundaryProps, { isBroken: boolean }> {
  override state = { isBroken: false }

  static getDerivedStateFromError() {
    return { isBroken: true }
  }

  override render() {
    return this.state.isBroken ? this.props.fallback : this.props.children
  }
}
