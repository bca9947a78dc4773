// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

/**
 * @title ISequenced
 * @notice A contract that numbers its own events, so that a listener can prove that it has missed none.
 *
 * Every event that this contract declares itself ends with a `sequence`: the first one carries 1 and each later one
 * carries the one before plus one, whatever its kind. Events of the standards (ERC-20, access control, pausing) keep
 * the signature that the standard gives them and carry no number.
 */
interface ISequenced {
    /// @notice The number of the last numbered event, which is also how many there have been.
    function sequence() external view returns (uint256);
}
