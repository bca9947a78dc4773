// SPDX-License-Identifier: MIT
pragma solidity ^0.8.34;

// solhint-disable avoid-low-level-calls

import {IAccessControl} from "@openzeppelin/contracts/access/IAccessControl.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {IERC20Memo} from "../interfaces/IERC20Memo.sol";
import {IERC20Mineable} from "../interfaces/IERC20Mineable.sol";
import {IERC20Mintable} from "../interfaces/IERC20Mintable.sol";
import {IERC20Registrable} from "../interfaces/IERC20Registrable.sol";
import {TokenTest} from "../testing/TokenTest.t.sol";

contract ERC20RolePausableTest is TokenTest {
    /// @dev Everything that a call could have moved.
    struct Snapshot {
        uint256 supply;
        uint256 aliceBalance;
        uint256 bobBalance;
        uint256 allowance;
        uint256 nonce;
        uint256 sequence;
        uint256 epoch;
        bool registered;
    }

    function setUp() public override {
        super.setUp();
        _mint(alice, 100 ether);
        vm.prank(alice);
        token.approve(bob, 50 ether);
    }

    /**
     * @dev The behaviour of a pausable function: while paused the call reverts as paused and changes nothing; the very
     * same call succeeds and changes something once the token runs again.
     */
    function _stopsWhilePaused(address caller, bytes memory data) private {
        _pause();
        Snapshot memory before = _snapshot();
        vm.prank(caller);
        (bool success, bytes memory answer) = address(token).call(data);
        vm.assertEq(success, false, "succeeded while paused");
        vm.assertEq(answer, abi.encodeWithSelector(Pausable.EnforcedPause.selector), "reverted for another reason");
        vm.assertEq(abi.encode(_snapshot()), abi.encode(before), "changed something while paused");

        _unpause();
        vm.prank(caller);
        (success, ) = address(token).call(data);
        vm.assertTrue(success, "did not succeed after unpausing");
        vm.assertTrue(keccak256(abi.encode(_snapshot())) != keccak256(abi.encode(before)), "changed nothing at all");
    }

    function _snapshot() private view returns (Snapshot memory) {
        return
            Snapshot({
                supply: token.totalSupply(),
                aliceBalance: token.balanceOf(alice),
                bobBalance: token.balanceOf(bob),
                allowance: token.allowance(alice, bob),
                nonce: token.nonces(alice),
                sequence: token.sequence(),
                epoch: token.epoch(),
                registered: token.isRegistered(alice)
            });
    }

    function testTransferStopsWhilePaused() public {
        _stopsWhilePaused(alice, abi.encodeCall(IERC20.transfer, (bob, 1)));
    }

    function testTransferFromStopsWhilePaused() public {
        _stopsWhilePaused(bob, abi.encodeCall(IERC20.transferFrom, (alice, bob, 1)));
    }

    function testApproveStopsWhilePaused() public {
        _stopsWhilePaused(alice, abi.encodeCall(IERC20.approve, (bob, 7)));
    }

    function testPermitStopsWhilePaused() public {
        (uint8 v, bytes32 r, bytes32 s) = _signPermit(ALICE_KEY, bob, 7, block.timestamp);
        _stopsWhilePaused(carol, abi.encodeCall(IERC20Permit.permit, (alice, bob, 7, block.timestamp, v, r, s)));
    }

    function testTransferWithMemoStopsWhilePaused() public {
        _stopsWhilePaused(alice, abi.encodeCall(IERC20Memo.transferWithMemo, (bob, 1, "invoice")));
    }

    function testMintStopsWhilePaused() public {
        _stopsWhilePaused(minter, abi.encodeCall(IERC20Mintable.mint, (alice, 1, REASON)));
    }

    function testMintBatchStopsWhilePaused() public {
        address[] memory recipients = new address[](1);
        uint256[] memory amounts = new uint256[](1);
        (recipients[0], amounts[0]) = (alice, 1);
        _stopsWhilePaused(minter, abi.encodeCall(IERC20Mintable.mintBatch, (recipients, amounts, REASON)));
    }

    function testMineStopsWhilePaused() public {
        uint256 nonce = _solve(token, alice, 0);
        _stopsWhilePaused(carol, abi.encodeCall(IERC20Mineable.mine, (alice, nonce)));
    }

    function testRegisterStopsWhilePaused() public {
        _stopsWhilePaused(alice, abi.encodeCall(IERC20Registrable.register, ("alice")));
    }

    function testRegisterForStopsWhilePaused() public {
        bytes memory signature = _signRegistration(ALICE_KEY, alice, "alice", 0, block.timestamp);
        _stopsWhilePaused(
            carol,
            abi.encodeCall(IERC20Registrable.registerFor, (alice, "alice", block.timestamp, signature))
        );
    }

    function testRegisterWithoutAGrantStopsWhilePaused() public {
        for (uint160 i = 1; token.grant() > 0; ++i) {
            vm.prank(address(i << 32));
            token.register("somebody");
        }
        _stopsWhilePaused(alice, abi.encodeCall(IERC20Registrable.register, ("alice")));
    }

    function testPauserPausesAndIsNamed() public {
        vm.expectEmit(address(token));
        emit Pausable.Paused(pauser);
        _pause();
        vm.assertTrue(token.paused(), "not paused");
    }

    function testUnpauserUnpausesAndIsNamed() public {
        _pause();
        vm.expectEmit(address(token));
        emit Pausable.Unpaused(unpauser);
        _unpause();
        vm.assertEq(token.paused(), false, "still paused");
    }

    function testPauseAgainReverts() public {
        _pause();
        vm.expectRevert(Pausable.EnforcedPause.selector);
        _pause();
    }

    function testUnpauseWhileRunningReverts() public {
        vm.expectRevert(Pausable.ExpectedPause.selector);
        _unpause();
    }

    function testPauserCannotUnpause() public {
        _pause();
        bytes32 role = token.UNPAUSER_ROLE();
        vm.expectRevert(abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, pauser, role));
        vm.prank(pauser);
        token.unpause();
    }

    function testUnpauserCannotPause() public {
        bytes32 role = token.PAUSER_ROLE();
        vm.expectRevert(
            abi.encodeWithSelector(IAccessControl.AccessControlUnauthorizedAccount.selector, unpauser, role)
        );
        vm.prank(unpauser);
        token.pause();
    }

    function testAdministrationGoesOnWhilePaused() public {
        _pause();
        bytes32 role = token.UNPAUSER_ROLE();
        vm.startPrank(admin);
        token.grantRole(role, carol);
        token.setMintLimit(minter, 1);
        vm.stopPrank();
        vm.prank(carol);
        token.unpause();
        vm.assertEq(token.mintLimit(minter), 1, "limit not changed");
    }
}
