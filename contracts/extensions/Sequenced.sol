// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

import {ISequenced} from "../interfaces/ISequenced.sol";

/// @dev One counter for all numbered events of a contract; a revert takes the numbers back together with the events.
abstract contract Sequenced is ISequenced {
    uint256 private _sequence;

    /// @inheritdoc ISequenced
    function sequence() public view virtual returns (uint256) {
        return _sequence;
    }

    /// @dev Takes the next number. Call it in the `emit` itself, so that no number is taken without its event.
    function _nextSequence() internal virtual returns (uint256) {
        return ++_sequence;
    }
}
