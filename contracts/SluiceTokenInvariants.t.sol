// SPDX-License-Identifier: MIT
// solhint-disable one-contract-per-file
pragma solidity ^0.8.34;

import {SluiceToken} from "./SluiceToken.sol";
import {Crowd} from "./testing/Crowd.t.sol";
import {TokenTest} from "./testing/TokenTest.t.sol";

/// @dev Hardhat only calls contracts of the files that it was told to test, so the crowd gets its code here.
contract TokenCrowd is Crowd {
    constructor(SluiceToken token, address admin, uint256 people) Crowd(token, admin, people) {}
}

/**
 * @dev Whatever a crowd does in whatever order, these hold. What a single call must not do (somebody without a role does
 * what the role is for, something moves while paused, a digest pays twice, a number is left out) the crowd notices
 * itself, at that call; what must hold between calls is compared here.
 */
contract SluiceTokenInvariantsTest is TokenTest {
    uint256 private constant PEOPLE = 8;

    Crowd private _crowd;

    function setUp() public override {
        super.setUp();
        _crowd = new TokenCrowd(token, admin, PEOPLE);
        // Some roles are held from the start, so that a short sequence does something too.
        address first = vm.addr(0xc40d);
        address second = vm.addr(0xc40e);
        vm.startPrank(admin);
        token.grantRole(token.MINTER_ROLE(), first);
        token.grantRole(token.PAUSER_ROLE(), second);
        token.grantRole(token.UNPAUSER_ROLE(), second);
        vm.stopPrank();
    }

    /// @dev An invariant of a crowd that never gets anything done would hold, too.
    function testTheCrowdGetsThingsDone() public {
        for (uint256 i = 0; i < 40; ++i) {
            uint256 r = uint256(keccak256(abi.encode(i)));
            _crowd.setMintLimit(r, r >> 1, r >> 8, true);
            _crowd.giveRole(r, r >> 1, r >> 2, true);
            _crowd.mint(r >> 3, r >> 4, r >> 5);
            _crowd.mintBatch(r >> 6, r >> 7, r >> 8, r >> 9);
            _crowd.register(r >> 10);
            _crowd.registerFor(r >> 11, r >> 12);
            _crowd.mine(r >> 13, r >> 14, r >> 15);
            _crowd.mineAgain(r >> 16, r % 2 == 0);
            _crowd.transfer(r >> 17, r >> 18, r >> 19);
            _crowd.transferWithMemo(r >> 20, r >> 21, r >> 22, bytes32(r));
            _crowd.approve(r >> 23, r >> 24, r >> 25);
            _crowd.permit(r >> 26, r >> 27, r >> 28, r >> 29);
            _crowd.transferFrom(r >> 30, r >> 27, r >> 31, r >> 32);
            _crowd.pause(r >> 33);
            _crowd.guess(r >> 34, r >> 35, r >> 36);
            _crowd.unpause(r >> 37);
            _crowd.unpauseRightly();
            _crowd.takeRole(r, r >> 38, r >> 39, r % 5 == 0);
            _crowd.wait(r >> 40);
        }
        vm.assertEq(_crowd.broken(), "", "broken");
        vm.assertGe(_crowd.successes(), 300, "calls that succeeded");
        vm.assertGe(token.epoch(), 20, "solutions");
        vm.assertEq(_crowd.sumOfBalances(), token.totalSupply(), "sum");
        vm.assertEq(_crowd.lastSequence(), token.sequence(), "sequence");
    }

    function targetContracts() public view returns (address[] memory targets) {
        targets = new address[](1);
        targets[0] = address(_crowd);
    }

    function invariantNothingHappensThatMustNot() public view {
        vm.assertEq(_crowd.broken(), "", "broken");
    }

    function invariantTheSupplyStaysWithinTheCap() public view {
        vm.assertLe(token.totalSupply(), CAP, "supply");
        vm.assertLe(token.grantBudget(), GRANT_BUDGET, "budget");
    }

    function invariantTheBalancesAddUpToTheSupply() public view {
        vm.assertEq(_crowd.sumOfBalances(), token.totalSupply(), "sum");
    }

    function invariantTheSequenceIsContiguous() public view {
        vm.assertEq(_crowd.lastSequence(), token.sequence(), "the last number that an event carried");
    }

    function invariantTheTargetStaysWithinItsBounds() public view {
        vm.assertGe(token.target(), 2 ** 251, "too hard");
        vm.assertLe(token.target(), 2 ** 254 - 1, "too easy");
    }
}
